"""`inv --list`, `inv --help` and shell completion, and that the README documents every flag."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from invoke.main import program

import tasks
from harness.stacks import ROOT
from invoke_stack.cli.namespace import VERBS

NAMES = sorted(tasks.ns.tasks)
OURS = {task.name for task in VERBS}  # without the tasks of tasks.py
README = (ROOT / "README.md").read_text("utf-8")


@pytest.fixture
def inv_output(capsys, monkeypatch):
    """Return a function that runs `inv` with some arguments and returns its stdout."""
    monkeypatch.chdir(ROOT)

    def run(*arguments):
        # Import tasks.py again, as every `inv` does: a plain Invoke task loses its help texts when
        # they are read.
        monkeypatch.delitem(sys.modules, "tasks")
        program.run(["inv", *arguments], exit=False)
        return capsys.readouterr().out

    return run


def test_list_has_one_line_for_each_verb(inv_output):
    lines = inv_output("--list").splitlines()
    listed = [line.split()[0] for line in lines[2:] if line]
    assert listed == NAMES  # so no text is wrapped
    assert all(len(line) <= 80 for line in lines)


@pytest.mark.parametrize("name", NAMES)
def test_help_has_examples_exit_codes_and_a_text_for_each_flag(inv_output, name):
    output = inv_output("--help", name)
    assert all(len(line) <= 80 for line in output.splitlines())
    about, _, options = output.partition("\nOptions:\n")
    for flag in re.findall(r"^  (-.*)$", options, re.MULTILINE):
        assert re.search(r"\S {2,}\S", flag), f"{flag} has no help"
    if name in OURS:
        assert re.search(rf"\n  Examples:\n    inv {name}\b", about)
        assert "\n  Exit codes: 0 " in about


@pytest.mark.parametrize("task", VERBS, ids=lambda task: task.name)
def test_readme_documents_every_verb_and_flag(task):
    rows = re.findall(rf"^\| `inv {task.name}[ `].*$", README, re.MULTILINE)
    assert len(rows) == 1
    for argument in task.get_arguments():
        flag = "--" + argument.name.replace("_", "-")
        if argument.default is True:
            flag = flag.replace("--", "--no-")
        is_common = flag in ("--runtime", "--json", "--services") or task.name == "restart"
        assert is_common or flag in rows[0] or argument.positional, flag


def test_completion_offers_verbs_and_flags(inv_output):
    assert set(NAMES) <= set(inv_output("--complete", "--", "inv re").split())
    flags = set(inv_output("--complete", "--", "inv logs --").split())
    assert {"--follow", "--grep", "--since"} <= flags
    assert "--watch" in inv_output("--complete", "--", "inv status --w").split()


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")
def test_completion_in_bash():
    """Evaluate the line from the README, then do what bash does when Tab is pressed."""
    line = "source <(inv --print-completion-script bash)"
    assert line in README
    press_tab = (
        'COMP_WORDS=(inv res); COMP_CWORD=1; _complete_invoke inv res; echo "${COMPREPLY[*]}"'
    )
    scripts = Path(sys.executable).parent
    result = subprocess.run(
        ["bash", "-c", f"{line}; {press_tab}"],
        cwd=ROOT,
        env=os.environ | {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert result.stdout.split() == ["restart", "restart-backend", "restore"], result.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_completion_script_for_other_shells(inv_output, shell):
    assert f"inv --print-completion-script {shell}" in README
    assert "--complete" in inv_output("--print-completion-script", shell)
