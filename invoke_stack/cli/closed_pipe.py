"""Output whose reader has closed the pipe, as in `inv status | head -1`."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from invoke.exceptions import Exit


@contextmanager
def end_at_closed_pipe() -> Iterator[None]:
    """End with exit code 0 once the reader of stdout or stderr has gone: it has read enough."""
    try:
        try:
            yield
        finally:
            if sys.stdout:  # None if it was closed from the start
                sys.stdout.flush()
    except BrokenPipeError:
        for stream in filter(None, (sys.stdout, sys.stderr)):
            _discard(stream)
        raise Exit(code=0) from None


@contextmanager
def continue_at_closed_pipe() -> Iterator[None]:
    """Drop output whose reader has gone, so that a change is completed and keeps its exit code."""
    if not (sys.stdout and sys.stderr):  # None if it was closed from the start
        yield
        return
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _LossyStream(sys.stdout), _LossyStream(sys.stderr)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stdout, sys.stderr = streams


def has_reader(stream: TextIO) -> bool:
    """Return False once the reader of a pipe has gone; True on systems that cannot tell."""
    if not hasattr(select, "poll"):
        return True
    poll = select.poll()
    poll.register(stream.fileno(), 0)  # errors are always reported
    return not poll.poll(0)


class _LossyStream:
    """A text stream that drops its output once its reader has gone."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            _discard(self._stream)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            _discard(self._stream)


def _discard(stream: TextIO) -> None:
    # Python flushes the stream again when it exits.
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
