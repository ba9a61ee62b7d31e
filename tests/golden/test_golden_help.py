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

    def shown(*words: str) -> str:
        # Loaded anew, as by each `inv`: Invoke's own tasks forget their help once it is asked for.
        monkeypatch.delitem(sys.modules, "tasks", raising=False)
        program.run(["inv", *words], exit=False)
        return f"$ inv {' '.join(words)}\n\n{capsys.readouterr().out}"

    goldens.compare({name: shown(*words) for name, words in COMMANDS.items()})
