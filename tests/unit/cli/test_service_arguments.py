"""Positional service arguments, as in `inv logs worker`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoke_stack.cli.service_arguments import name_services

VERBS = {
    "logs": {"--tail": True, "-t": True, "--follow": False, "--services": True, "--grep": True},
    "restart": {"--json": False, "--services": True},
}


@pytest.mark.parametrize(
    ("command_line", "expected"),
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
def test_name_services_marks_the_first_positional_argument(command_line, expected):
    assert name_services(command_line.split(), VERBS) == expected.split()


ARGUMENTS = [
    "logs",
    "restart",
    "health",
    "--tail",
    "-t",
    "--tail=5",
    "--follow",
    "--json",
    "-",
    "--",
]


@given(st.lists(st.sampled_from([*ARGUMENTS, "--services", "", "worker,beat"]) | st.text()))
def test_name_services_keeps_all_arguments_in_order(arguments):
    result = name_services(arguments, VERBS)
    for argument in arguments:
        if result[0] != argument:
            assert result.pop(0) == "--services"
        assert result.pop(0) == argument
    assert result == []
