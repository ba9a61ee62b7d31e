"""Bare words after a verb."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoke_stack.cli.service_arguments import name_services

VERBS = {
    "logs": {"--tail": True, "-t": True, "--follow": False, "--services": True, "--grep": True},
    "restart": {"--json": False, "--services": True},
}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("logs", "logs"),
        ("logs worker,beat", "logs --services worker,beat"),
        ("logs --tail 5 worker", "logs --tail 5 --services worker"),
        ("logs --tail=5 worker", "logs --tail=5 --services worker"),
        ("logs --follow worker --tail 5", "logs --follow --services worker --tail 5"),
        ("logs --services worker", "logs --services worker"),
        ("restart worker --json", "restart --services worker --json"),
        ("health --timeout 3", "health --timeout 3"),
        ("logs -t 5 logs", "logs -t 5 --services logs"),
    ],
)
def test_the_first_bare_word_is_the_service(words, expected):
    assert name_services(words.split(), VERBS) == expected.split()


WORDS = ["logs", "restart", "health", "--tail", "-t", "--tail=5", "--follow", "--json", "-", "--"]


@given(st.lists(st.sampled_from([*WORDS, "--services", "", "worker,beat"]) | st.text()))
def test_no_word_is_lost_or_moved(words):
    found = name_services(words, VERBS)
    for word in words:
        if found[0] != word:
            assert found.pop(0) == "--services"
        assert found.pop(0) == word
    assert found == []
