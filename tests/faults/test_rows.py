"""No row is left out: each has its test, or says why not, and stands in docs/reliability.md."""

import re
from pathlib import Path

import pytest

from tests.faults.report import DOCUMENT
from tests.faults.rows import NOT_HERE, ROWS

HERE = Path(__file__).parent


@pytest.mark.parametrize("row", ROWS)
def test_every_row_has_its_test_and_its_line(row):
    sources = "".join(path.read_text("utf-8") for path in HERE.glob("test_*.py"))
    tests = re.findall(rf"^def test_\w*?_?f{int(row[1:]):02}_", sources, re.M)
    assert bool(tests) != (row in NOT_HERE)
    assert f"\n| {row} |" in DOCUMENT.read_text("utf-8")
