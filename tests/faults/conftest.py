"""Record what the fault tests measure, for the table of docs/reliability.md."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.rows import ROWS
from tests.integration.backend.conftest import project  # noqa: F401  fixtures
from tests.integration.boot.conftest import boot, lone_boot, own_postgres, shell  # noqa: F401

RECORD = "FAULTS_RECORD"  # a file; each test appends a line of JSON


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Return a function that records what this test has measured, in a few words."""
    parameters = request.node.callspec.params if hasattr(request.node, "callspec") else {}

    def record(text: str) -> None:
        _record(request.node.name, runtime=parameters.get("stack", ""), text=text)

    return record


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Record every test that passes, also if it has measured nothing."""
    if report.when == "call" and report.passed:
        _record(report.nodeid.rpartition("::")[2])


def _record(test: str, **measurement: str) -> None:
    if file := os.environ.get(RECORD):
        # `test_f05_f07_…` tests two rows.
        for number in re.findall(r"_f(\d\d)(?=_)", test.partition("[")[0]):
            row = f"F{int(number)}"
            assert row in ROWS
            with Path(file).open("a", encoding="utf-8") as record:
                record.write(json.dumps({"row": row, **measurement}) + "\n")
