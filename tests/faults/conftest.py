"""How a test of a fault tells what it measured."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.rows import ROWS

RECORD = "FAULTS_RECORD"  # a file; each test appends a line of JSON


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Note in a few words what was measured, for the row and the runtime of this test."""
    row = f"F{int(request.node.name[len('test_f') :][:2])}"
    assert row in ROWS
    parameters = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    runtime = parameters.get("stack", "")

    def note(text: str) -> None:
        if file := os.environ.get(RECORD):
            with Path(file).open("a", encoding="utf-8") as record:
                record.write(json.dumps({"row": row, "runtime": runtime, "text": text}) + "\n")

    return note
