"""The log lines of the services, merged by time."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from invoke_stack.commands.session import Session
from invoke_stack.errors import StackError
from invoke_stack.model import LogLine
from invoke_stack.runtimes.base import Runtime
from invoke_stack.text import plain


@dataclass(frozen=True)
class LogOptions:
    """Which lines to read."""

    services: Sequence[str]
    tail: int  # how many of the last matching lines, over all services together
    since: str | None  # a time as in `LogLine.time`
    follow: bool
    grep: re.Pattern[str] | None


def read_logs(session: Session, options: LogOptions) -> Iterator[LogLine | None]:
    """Return the lines without terminal escapes, and None whenever there is no new line yet.

    Raises `OutOfReach` if there is no such service, or the stack is not up.
    """
    runtime = session.runtime
    read = runtime.follow if options.follow else runtime.history
    services = list(dict.fromkeys(options.services))
    if options.grep is None:
        lines = read(services, tail=options.tail, since=options.since, say=session.say)
        return filter_lines(lines, None)
    # The last matches may be anywhere in the log.
    lines = read(services, tail=None, since=options.since, say=session.say)
    return skip_to_tail(filter_lines(lines, options.grep), options.tail)


def last_lines(
    runtime: Runtime, service: str, tail: int, since: str | None = None
) -> list[LogLine]:
    """Return the last lines of a service; none if they cannot be read."""
    result: list[LogLine] = []
    with suppress(StackError):
        lines = runtime.history([service], tail=tail, since=since, say=lambda _: None)
        result.extend(line for line in filter_lines(lines, None) if line)
    return result


def skip_to_tail(lines: Iterable[LogLine | None], tail: int) -> Iterator[LogLine | None]:
    """Skip all but the last `tail` of the lines so far, which end with the first None."""
    lines = iter(lines)
    so_far: deque[LogLine] = deque(maxlen=tail)
    for line in lines:
        if line is None:
            break
        so_far.append(line)
    yield from so_far
    yield None
    yield from lines


def filter_lines(
    lines: Iterable[LogLine | None], grep: re.Pattern[str] | None
) -> Iterator[LogLine | None]:
    """Return the lines that match `grep`, without terminal escapes; None is passed through."""
    for line in lines:
        if line is None:
            yield None
            continue
        text = plain(line.text)
        if grep is None or grep.search(text):
            yield line if text is line.text else line._replace(text=text)
