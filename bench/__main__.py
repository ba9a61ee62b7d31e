"""Run the rows and the curves, and write their results.

python -m bench [--pairs 10] [--only NAME,NAME]
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench import report
from bench.curves import CURVES
from bench.fixtures import Fixtures
from bench.measure import measure
from bench.rows import ROWS


def main() -> int:
    """Run the selected benchmarks and return the exit code."""
    parser = argparse.ArgumentParser(prog="inv bench")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    names = [name for name in arguments.only.split(",") if name]
    available = [benchmark.name for benchmark in (*ROWS, *CURVES)]
    if unknown := [name for name in names if name not in available]:
        print(f"unknown row {unknown[0]!r}\n  rows: {', '.join(available)}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the stacks are removed
    begin = time.monotonic()
    results = report.load()
    results["machine"] = report.machine()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, Fixtures(Path(folder)) as fixtures:
        for row in _select(ROWS, names):
            say(f"{row.name}: {row.job}")
            results["rows"][row.name] = measure(row, fixtures, arguments.pairs)
            report.save(results)
            say(f"  {report.describe(row, results['rows'][row.name])}")
        for curve in _select(CURVES, names):
            say(f"{curve.name}: {curve.title}")
            results["curves"][curve.name] = curve.measure(fixtures)
            report.save(results)
            say(f"  {results['curves'][curve.name]}")
    say(f"done in {time.monotonic() - begin:.0f} s")
    return 0


def _select(benchmarks: Iterable[Any], names: list[str]) -> list[Any]:
    return [each for each in benchmarks if not names or each.name in names]


def say(text: str) -> None:
    """Print a line of progress to stderr."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
