"""What was measured: as JSON beside this file, as a table in docs/performance.md, as a picture."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import picture
from bench.curves import CURVES
from bench.measure import Goal, Row
from bench.rows import ROWS

RESULTS = Path(__file__).with_name("results.json")
DOCS = RESULTS.parents[1] / "docs"
DOCUMENT, PICTURE = DOCS / "performance.md", DOCS / "performance.svg"
BEGIN, END = "<!-- bench: written by inv bench -->", "<!-- end of bench -->"


def load() -> dict[str, Any]:
    """The results so far: a row that is not measured this time keeps what it has."""
    if RESULTS.exists():
        return dict(json.loads(RESULTS.read_text("utf-8")))
    return {"machine": {}, "rows": {}, "curves": {}}


def save(results: Mapping[str, Any]) -> None:
    """Write all three."""
    RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", "utf-8")
    before, rest = DOCUMENT.read_text("utf-8").split(BEGIN)
    _, after = rest.split(END)
    shown = table(ROWS, results["rows"])
    DOCUMENT.write_text(f"{before}{BEGIN}\n{shown}\n{END}{after}", "utf-8")
    PICTURE.write_text(picture.svg(CURVES, results["curves"]), "utf-8")


def machine() -> dict[str, Any]:
    """What it was measured on."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 1),
    }


def table(rows: Sequence[Row], results: Mapping[str, Any]) -> str:
    """A line for each row, whether it was measured or not."""
    head = "| row | job | against | it takes | the other | ratio | goal |\n|---|---|---|---|---|---|---|\n"
    lines = []
    for row in rows:
        result = results.get(row.name, {"failed": "not measured yet"})
        start = f"| {row.name} | {row.job} | {row.against} |"
        if "failed" in result:
            lines.append(f"{start} {result['failed'].replace('|', '/')} | | | {_goal(row)} |")
            continue
        sides = [f"{_spread(result[side], row.unit)}" for side in ("ours", "theirs")]
        verdict = "" if result["holds"] else " **missed**"
        lines.append(
            f"{start} {' | '.join(sides)} | {_value(row, result)} | {_goal(row)}{verdict} |"
        )
    return head + "\n".join(lines)


def told(row: Row, result: Mapping[str, Any]) -> str:
    """A result in one line, for whoever waits."""
    if "failed" in result:
        return f"failed: {result['failed']}"
    sides = (_spread(result[side], row.unit) for side in ("ours", "theirs"))
    verdict = "holds" if result["holds"] else "missed"
    return f"{' against '.join(sides)}: {_value(row, result)}, goal {_goal(row)}: {verdict}"


def _spread(side: Mapping[str, float], unit: str) -> str:
    return f"{side['median']:.3g} {unit} ({side['min']:.3g}–{side['max']:.3g})"


def _value(row: Row, result: Mapping[str, Any]) -> str:
    if row.goal.difference:
        return f"{result['difference']:+.2f} {row.unit}"
    return f"{result['ratio']:.2f}"


def _goal(row: Row) -> str:
    goal: Goal = row.goal
    text = f"{'≥' if goal.least else '≤'} {goal.limit:g}"
    return f"{text} {row.unit} more" if goal.difference else text
