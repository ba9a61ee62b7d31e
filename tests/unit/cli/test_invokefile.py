"""What is wrong in `invoke.yaml` is told in two lines, whatever the verb."""

import subprocess
import sys

import pytest

from harness.stacks import ROOT
from invoke_stack.cli import invokefile
from invoke_stack.errors import BadInput


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"stack: 5", "stack in invoke.yaml is 5"),
        (b"stack:", "stack in invoke.yaml is empty"),
        (b"ops:", "ops:"),
        (b"ops: hello", "ops:"),
        (b"stack: {phases: {1: a}}", "the phase 1"),
        (b"- a", "invoke.yaml is ['a']"),
        (b"a: 1\nstack: [", "invoke.yaml line 2 is no YAML"),
        (b"stack: \x00", "invoke.yaml is no YAML"),
        (b"\xff", "invoke.yaml is not UTF-8"),
        (b"run: 5", "run in invoke.yaml is 5"),
        (b"stack: {runtim: local}", "stack.runtim in invoke.yaml"),
        (b"stack: {runtime: {a: b}}", "stack.runtime in invoke.yaml is {'a': 'b'}"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(tmp_path, text, told):
    (tmp_path / "invoke.yaml").write_bytes(text)
    with pytest.raises(BadInput) as caught:
        invokefile.check(tmp_path, {})
    assert told in caught.value.message
    assert caught.value.hint


def test_a_misspelt_setting_is_told_the_near_one(tmp_path):
    (tmp_path / "invoke.yml").write_text("stack: {runtim: local}")
    with pytest.raises(BadInput) as caught:
        invokefile.check(tmp_path, {})
    assert "runtime" in caught.value.hint.partition("?")[0]


def test_the_old_section_is_refused_with_the_line_to_write(tmp_path):
    (tmp_path / "invoke.yaml").write_text("ops:\n  health: /healthz\n  markers: {boot: a}\n")
    with pytest.raises(BadInput) as caught:
        invokefile.check(tmp_path, {})
    assert "ops:" in caught.value.message
    assert caught.value.hint == "write: stack: {phases: {boot: a}, ready: /healthz}"


def test_an_old_variable_is_refused_with_the_new_one(tmp_path):
    with pytest.raises(BadInput) as caught:
        invokefile.check(tmp_path, {"INVOKE_OPS_HEALTH": "/healthz"})
    assert "INVOKE_OPS_HEALTH" in caught.value.message
    assert caught.value.hint == "set instead: INVOKE_STACK_READY=/healthz"


def test_a_misspelt_variable_is_told_the_near_one(tmp_path):
    with pytest.raises(BadInput) as caught:
        invokefile.check(tmp_path, {"INVOKE_STACK_SERVCIE": "web"})
    assert "INVOKE_STACK_SERVICE" in caught.value.hint.partition("?")[0]
    invokefile.check(tmp_path, {"INVOKE_STACK_PORT": "8000", "INVOKE_SHELL": "sh"})


def test_a_file_that_is_a_folder_is_refused(tmp_path):
    (tmp_path / "invoke.yaml").mkdir()
    with pytest.raises(BadInput) as caught:
        invokefile.check(tmp_path, {})
    assert "cannot be read" in caught.value.message


@pytest.mark.parametrize(
    "text", ["", "# nothing", "other: 5", "stack: {runtime: local, phases: {boot: a}}", "run: {}"]
)
def test_what_invoke_can_use_is_let_through(tmp_path, text):
    (tmp_path / "invoke.yaml").write_text(text)
    invokefile.check(tmp_path, {})


def test_no_verb_answers_with_a_traceback(tmp_path):
    (tmp_path / "invoke.yaml").write_text("stack: 5")
    (tmp_path / "tasks.py").write_text(
        "from pathlib import Path\nfrom invoke_stack import namespace\n"
        "ns = namespace(root=Path(__file__).parent)\n"
    )
    words = [sys.executable, "-m", "invoke", "doctor"]
    done = subprocess.run(
        words, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[0] == "stack in invoke.yaml is 5, no mapping"
    assert len(done.stderr.splitlines()) == 2
