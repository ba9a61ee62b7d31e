"""Verbs write bytecode, which Invoke alone would turn off, and which pip was told not to write."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.servers import clean_environment
from harness.stacks import ROOT, Stack


@pytest.mark.parametrize(
    ("variables", "is_written"), [({}, True), ({"PYTHONDONTWRITEBYTECODE": "1"}, False)]
)
def test_bytecode_is_written_unless_turned_off(
    tmp_path: Path, variables: dict[str, str], is_written: bool
) -> None:
    shutil.copy(ROOT / "tasks.py", tmp_path)
    bytecode = shutil.ignore_patterns("__pycache__")
    for package in ("invoke_stack", "deal_scout_profile"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=bytecode)
    # PYTHONPATH makes `inv` import the copy, not this checkout.
    stack = Stack(tmp_path, "local", clean_environment(PYTHONPATH=str(tmp_path), **variables))
    stack.inv("health", "--runtime", "local")
    assert (tmp_path / "invoke_stack/cli/verbs/__pycache__").exists() is is_written
