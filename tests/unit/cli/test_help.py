"""What `inv --list`, `inv --help` and the shells' completion show, and that the README knows it all."""

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
OURS = {task.name for task in VERBS}  # the others are the project's own
README = (ROOT / "README.md").read_text("utf-8")


@pytest.fixture
def said(capsys, monkeypatch):
    """What `inv` prints with these words, in a terminal of 80 columns."""
    monkeypatch.chdir(ROOT)

    def run(*words):
        # Loaded anew, as by each `inv`: Invoke's own tasks forget their help once it was asked for.
        monkeypatch.delitem(sys.modules, "tasks")
        program.run(["inv", *words], exit=False)
        return capsys.readouterr().out

    return run


def test_the_list_has_a_line_for_each_verb(said):
    lines = said("--list").splitlines()
    listed = [line.split()[0] for line in lines[2:] if line]
    assert listed == NAMES  # so none takes two lines
    assert all(len(line) <= 80 for line in lines)


@pytest.mark.parametrize("name", NAMES)
def test_help_reads_like_a_manual_page(said, name):
    shown = said("--help", name)
    assert all(len(line) <= 80 for line in shown.splitlines())
    about, _, options = shown.partition("\nOptions:\n")
    for flag in re.findall(r"^  (-.*)$", options, re.MULTILINE):
        assert re.search(r"\S {2,}\S", flag), f"{flag} has no help"
    if name in OURS:
        assert re.search(rf"\n  Examples:\n    inv {name}\b", about)
        assert "\n  Exit codes: 0 " in about


@pytest.mark.parametrize("task", VERBS, ids=lambda task: task.name)
def test_the_readme_knows_every_verb_and_flag(task):
    rows = re.findall(rf"^\| `inv {task.name}[ `].*$", README, re.MULTILINE)
    assert len(rows) == 1
    for argument in task.get_arguments():
        flag = "--" + argument.name.replace("_", "-")
        if argument.default is True:
            flag = flag.replace("--", "--no-")
        told_for_all = flag in ("--runtime", "--json", "--services") or task.name == "restart"
        assert told_for_all or flag in rows[0] or argument.positional, flag


def test_completion_offers_verbs_and_flags(said):
    assert set(NAMES) <= set(said("--complete", "--", "inv re").split())
    assert {"--follow", "--grep", "--since"} <= set(said("--complete", "--", "inv logs --").split())
    assert "--watch" in said("--complete", "--", "inv status --w").split()


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash here")
def test_completion_in_bash():
    """The README's line, and then what bash does when Tab is pressed."""
    line = "source <(inv --print-completion-script bash)"
    assert line in README
    press = 'COMP_WORDS=(inv res); COMP_CWORD=1; _complete_invoke inv res; echo "${COMPREPLY[*]}"'
    here = Path(sys.executable).parent
    result = subprocess.run(
        ["bash", "-c", f"{line}; {press}"],
        cwd=ROOT,
        env=os.environ | {"PATH": f"{here}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert result.stdout.split() == ["restart", "restart-backend", "restore"], result.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_completion_for_other_shells(said, shell):
    assert f"inv --print-completion-script {shell}" in README
    assert "--complete" in said("--print-completion-script", shell)
