"""Write the results: as JSON beside this file, and as table and chart in docs/performance.md."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import chart
from bench.curves import CURVES
from bench.measure import Goal, Row
from bench.rows import ROWS

RESULTS = Path(__file__).with_name("results.json")
DOCS = RESULTS.parents[1] / "docs"
DOCUMENT, CHART = DOCS / "performance.md", DOCS / "performance.svg"
BEGIN, END = "<!-- bench: written by inv bench -->", "<!-- end of bench -->"


def load() -> dict[str, Any]:
    """Return the results of earlier runs; they stay for rows that are not measured this time."""
    if RESULTS.exists():
        return dict(json.loads(RESULTS.read_text("utf-8")))
    return {"machine": {}, "rows": {}, "curves": {}}


def save(results: Mapping[str, Any]) -> None:
    """Write the JSON, the table and the chart."""
    RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", "utf-8")
    before, rest = DOCUMENT.read_text("utf-8").split(BEGIN)
    _, after = rest.split(END)
    rows = table(ROWS, results["rows"])
    DOCUMENT.write_text(f"{before}{BEGIN}\n{rows}\n{END}{after}", "utf-8")
    CHART.write_text(chart.svg(CURVES, results["curves"]), "utf-8")


def machine() -> dict[str, Any]:
    """Return a description of this machine."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 1),
    }


def table(rows: Sequence[Row], results: Mapping[str, Any]) -> str:
    """Return a Markdown table of all rows, with or without a result."""
    head = "| row | job | compared with | ours | theirs | ratio | goal |\n|---|---|---|---|---|---|---|\n"
    lines = []
    for row in rows:
        result = results.get(row.name, {"failed": "not measured yet"})
        start = f"| {row.name} | {row.job} | {row.baseline} |"
        if "failed" in result:
            lines.append(f"{start} {result['failed'].replace('|', '/')} | | | {_goal(row)} |")
            continue
        sides = [f"{_spread(result[side], row.unit)}" for side in ("ours", "theirs")]
        verdict = "" if result["holds"] else " **missed**"
        lines.append(
            f"{start} {' | '.join(sides)} | {_value(row, result)} | {_goal(row)}{verdict} |"
        )
    return head + "\n".join(lines)


def describe(row: Row, result: Mapping[str, Any]) -> str:
    """Return a result as one line of progress."""
    if "failed" in result:
        return f"failed: {result['failed']}"
    sides = (_spread(result[side], row.unit) for side in ("ours", "theirs"))
    verdict = "met" if result["holds"] else "missed"
    return f"{' compared with '.join(sides)}: {_value(row, result)}, goal {_goal(row)}: {verdict}"


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
