"""Every row has a test, or the reason why not, and a line in docs/reliability.md."""

import re
from pathlib import Path

import pytest

from tests.faults.report import DOCUMENT
from tests.faults.rows import NOT_INJECTED, ROWS

HERE = Path(__file__).parent


@pytest.mark.parametrize("row", ROWS)
def test_row_has_a_test_and_a_line_in_the_document(row):
    sources = "".join(path.read_text("utf-8") for path in HERE.glob("test_*.py"))
    tests = re.findall(rf"^def test_\w*?_?f{int(row[1:]):02}_", sources, re.M)
    assert bool(tests) != (row in NOT_INJECTED)
    assert f"\n| {row} |" in DOCUMENT.read_text("utf-8")
