"""Write what the fault tests measured into the table of docs/reliability.md.

    python -m tests.faults.report RECORD

Rows without a new measurement keep the old one.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from tests.faults.rows import NOT_INJECTED, ROWS

DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- faults: written by tests/faults/report.py -->", "<!-- end of faults -->"


def main(record: str) -> int:
    """Update the table from a record of measurements."""
    text = DOCUMENT.read_text("utf-8")
    before, rest = text.split(BEGIN)
    table, after = rest.split(END)
    measured = dict(re.findall(r"^\| (F\d+) \|.*\| (.*) \|$", table, re.M))
    lines = [json.loads(line) for line in Path(record).read_text("utf-8").splitlines()]
    for row in dict.fromkeys(line["row"] for line in lines):
        measured[row] = _summary([line for line in lines if line["row"] == row])
    measured |= {row: f"not injected here: {reason}" for row, reason in NOT_INJECTED.items()}
    DOCUMENT.write_text(f"{before}{BEGIN}\n{_table(measured)}\n{END}{after}", "utf-8")
    return 0


def _summary(lines: list[dict[str, str]]) -> str:
    """Return what the tests of a row measured on each runtime, or in how many cases it holds."""
    notes: dict[str, list[str]] = {}
    for line in lines:
        if "text" in line:
            notes.setdefault(line["runtime"], []).append(line["text"])
    if not notes:
        return f"holds in {len(lines)} cases" if len(lines) > 1 else "holds"
    parts = (
        f"{runtime}: {'; '.join(texts)}" if runtime else "; ".join(texts)
        for runtime, texts in notes.items()
    )
    return "; ".join(parts)


def _table(measured: dict[str, str]) -> str:
    head = "| | fault | must hold | measured |\n|---|---|---|---|\n"
    return head + "\n".join(
        f"| {name} | {row.fault} | {row.bound} | {measured.get(name, '')} |"
        for name, row in ROWS.items()
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
