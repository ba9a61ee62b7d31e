"""Turns what the fault tests measured into the table of docs/reliability.md.

    python -m tests.faults.report RECORD

A row that was not measured this time keeps what the table says.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from tests.faults.rows import NOT_HERE, ROWS

DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- faults: written by tests/faults/report.py -->", "<!-- end of faults -->"


def main(record: str) -> int:
    text = DOCUMENT.read_text("utf-8")
    before, rest = text.split(BEGIN)
    table, after = rest.split(END)
    known = dict(re.findall(r"^\| (F\d+) \|.*\| (.*) \|$", table, re.M))
    lines = [json.loads(line) for line in Path(record).read_text("utf-8").splitlines()]
    for row in dict.fromkeys(line["row"] for line in lines):
        known[row] = _told([line for line in lines if line["row"] == row])
    known |= {row: f"not injected here: {why}" for row, why in NOT_HERE.items()}
    DOCUMENT.write_text(f"{before}{BEGIN}\n{_table(known)}\n{END}{after}", "utf-8")
    return 0


def _told(lines: list[dict[str, str]]) -> str:
    """What a row's tests measured, on each runtime; else that it held in so many cases."""
    notes: dict[str, list[str]] = {}
    for line in lines:
        if "text" in line:
            notes.setdefault(line["runtime"], []).append(line["text"])
    if not notes:
        return f"holds in {len(lines)} cases" if len(lines) > 1 else "holds"
    told = (
        f"{runtime}: {'; '.join(t)}" if runtime else "; ".join(t) for runtime, t in notes.items()
    )
    return "; ".join(told)


def _table(known: dict[str, str]) -> str:
    head = "| | fault | must hold | measured |\n|---|---|---|---|\n"
    return head + "\n".join(
        f"| {row} | {told.fault} | {told.bound} | {known.get(row, '')} |"
        for row, told in ROWS.items()
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
