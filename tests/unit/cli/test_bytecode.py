"""Verbs keep what Python compiled, which Invoke by itself forbids and pip was told to leave."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.servers import clean_environment
from harness.stacks import ROOT, Stack


@pytest.mark.parametrize(
    ("variables", "kept"), [({}, True), ({"PYTHONDONTWRITEBYTECODE": "1"}, False)]
)
def test_a_verb_compiles_only_once(tmp_path: Path, variables: dict[str, str], kept: bool) -> None:
    shutil.copy(ROOT / "tasks.py", tmp_path)
    unwanted = shutil.ignore_patterns("__pycache__")
    for package in ("invoke_stack", "deal_scout_profile"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=unwanted)
    # The copy's own modules, also where PYTHONPATH names this checkout.
    here = Stack(tmp_path, "local", clean_environment(PYTHONPATH=str(tmp_path), **variables))
    here.inv("health", "--runtime", "local")
    assert (tmp_path / "invoke_stack/cli/verbs/__pycache__").exists() is kept
