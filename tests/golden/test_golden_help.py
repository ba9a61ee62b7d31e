"""Golden files of `inv --list` and of the help of every command."""

from __future__ import annotations

import sys

import pytest
from invoke.main import program

import tasks
from harness.stacks import ROOT
from tests.support import goldens

COMMANDS = {
    "help/list.txt": ("--list",),
    **{f"help/{name}.txt": ("--help", name) for name in sorted(tasks.ns.tasks)},
}
goldens.declare(COMMANDS)


def test_golden_help(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)

    def help_text(*arguments: str) -> str:
        # Reload tasks.py, as each `inv` does: Invoke removes the help of a task once it is shown.
        monkeypatch.delitem(sys.modules, "tasks", raising=False)
        program.run(["inv", *arguments], exit=False)
        return f"$ inv {' '.join(arguments)}\n\n{capsys.readouterr().out}"

    goldens.compare({name: help_text(*arguments) for name, arguments in COMMANDS.items()})
