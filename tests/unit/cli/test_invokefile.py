"""Errors in `invoke.yaml` and in `INVOKE_…` variables: one line, and a hint."""

import subprocess
import sys

import pytest

from harness.stacks import ROOT
from invoke_stack.cli import invokefile
from invoke_stack.errors import BadInput


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"stack: 5", "stack in invoke.yaml is 5"),
        (b"stack:", "stack in invoke.yaml is empty"),
        (b"ops:", "ops:"),
        (b"ops: hello", "ops:"),
        (b"stack: {phases: {1: a}}", "phase name 1 in invoke.yaml"),
        (b"- a", "invoke.yaml is ['a']"),
        (b"a: 1\nstack: [", "invoke.yaml line 2 is not valid YAML"),
        (b"stack: \x00", "invoke.yaml is not valid YAML"),
        (b"\xff", "invoke.yaml is not UTF-8"),
        (b"run: 5", "run in invoke.yaml is 5"),
        (b"stack: {runtim: local}", "stack.runtim in invoke.yaml"),
        (b"stack: {runtime: {a: b}}", "stack.runtime in invoke.yaml is {'a': 'b'}"),
    ],
)
def test_invokefile_rejects_invalid_content(tmp_path, content, message):
    (tmp_path / "invoke.yaml").write_bytes(content)
    with pytest.raises(BadInput) as caught:
        invokefile.check(tmp_path, {})
    assert message in caught.value.message
    assert caught.value.hint


def test_invokefile_suggests_a_setting_when_one_is_misspelt(tmp_path):
    (tmp_path / "invoke.yml").write_text("stack: {runtim: local}")
    with pytest.raises(BadInput) as caught:
        invokefile.check(tmp_path, {})
    assert "runtime" in caught.value.hint.partition("?")[0]


def test_invokefile_rejects_the_former_section_with_its_replacement(tmp_path):
    (tmp_path / "invoke.yaml").write_text("ops:\n  health: /healthz\n  markers: {boot: a}\n")
    with pytest.raises(BadInput) as caught:
        invokefile.check(tmp_path, {})
    assert "ops:" in caught.value.message
    assert caught.value.hint == "write: stack: {phases: {boot: a}, ready: /healthz}"


def test_invokefile_rejects_a_renamed_variable_with_its_new_name(tmp_path):
    with pytest.raises(BadInput) as caught:
        invokefile.check(tmp_path, {"INVOKE_OPS_HEALTH": "/healthz"})
    assert "INVOKE_OPS_HEALTH" in caught.value.message
    assert caught.value.hint == "set instead: INVOKE_STACK_READY=/healthz"


def test_invokefile_suggests_a_variable_when_one_is_misspelt(tmp_path):
    with pytest.raises(BadInput) as caught:
        invokefile.check(tmp_path, {"INVOKE_STACK_SERVCIE": "web"})
    assert "INVOKE_STACK_SERVICE" in caught.value.hint.partition("?")[0]
    invokefile.check(tmp_path, {"INVOKE_STACK_PORT": "8000", "INVOKE_SHELL": "sh"})


def test_invokefile_rejects_a_folder(tmp_path):
    (tmp_path / "invoke.yaml").mkdir()
    with pytest.raises(BadInput) as caught:
        invokefile.check(tmp_path, {})
    assert "cannot read invoke.yaml" in caught.value.message


@pytest.mark.parametrize(
    "content",
    ["", "# nothing", "other: 5", "stack: {runtime: local, phases: {boot: a}}", "run: {}"],
)
def test_invokefile_accepts_valid_content(tmp_path, content):
    (tmp_path / "invoke.yaml").write_text(content)
    invokefile.check(tmp_path, {})


def test_invokefile_error_ends_a_verb_without_a_traceback(tmp_path):
    (tmp_path / "invoke.yaml").write_text("stack: 5")
    (tmp_path / "tasks.py").write_text(
        "from pathlib import Path\nfrom invoke_stack import namespace\n"
        "ns = namespace(root=Path(__file__).parent)\n"
    )
    command = [sys.executable, "-m", "invoke", "doctor"]
    result = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.splitlines()[0] == "stack in invoke.yaml is 5, not a mapping"
    assert len(result.stderr.splitlines()) == 2
