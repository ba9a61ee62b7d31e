"""Runs the rows and the curves, and writes what they measured.

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
from bench.measure import measure
from bench.place import Place
from bench.rows import ROWS


def main() -> int:
    parser = argparse.ArgumentParser(prog="inv bench")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--only", default="")
    words = parser.parse_args()
    names = [name for name in words.only.split(",") if name]
    known = [each.name for each in (*ROWS, *CURVES)]
    if unknown := [name for name in names if name not in known]:
        print(f"no row {unknown[0]!r}\n  there are: {', '.join(known)}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # taking down what was put up
    begin = time.monotonic()
    results = report.load()
    results["machine"] = report.machine()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, Place(Path(folder)) as place:
        for row in _chosen(ROWS, names):
            say(f"{row.name}: {row.job}")
            results["rows"][row.name] = measure(row, place, words.pairs)
            report.save(results)
            say(f"  {report.told(row, results['rows'][row.name])}")
        for curve in _chosen(CURVES, names):
            say(f"{curve.name}: {curve.title}")
            results["curves"][curve.name] = curve.draw(place)
            report.save(results)
            say(f"  {results['curves'][curve.name]}")
    say(f"done in {time.monotonic() - begin:.0f} s")
    return 0


def _chosen(every: Iterable[Any], names: list[str]) -> list[Any]:
    return [each for each in every if not names or each.name in names]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
