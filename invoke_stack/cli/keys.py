"""Reads single key presses from the terminal, without Enter and without echo, on every system."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ReadKey = Callable[[float], str]
"""Waits for a key for at most the given seconds, and returns it; an empty string on timeout."""


@contextmanager
def keyboard() -> Iterator[ReadKey | None]:
    """Yield a function that reads a key, or None if stdin is not a terminal.

    Restores the terminal's settings on exit.
    """
    if not sys.stdin.isatty():
        yield None
    elif sys.platform == "win32":
        yield _read_windows_key
    else:
        with _unbuffered() as read_key:
            yield read_key


if sys.platform == "win32":

    def _read_windows_key(seconds: float) -> str:
        import msvcrt

        deadline = time.monotonic() + seconds
        while not msvcrt.kbhit():
            if time.monotonic() > deadline:
                return ""
            time.sleep(0.02)  # a Windows console has nothing to select on
        return msvcrt.getwch()

else:

    @contextmanager
    def _unbuffered() -> Iterator[ReadKey]:
        import os
        import select
        import termios
        import tty

        stdin = sys.stdin.fileno()

        def read_key(seconds: float) -> str:
            if not select.select([stdin], [], [], seconds)[0]:
                return ""
            # An arrow key sends several characters; only the first one counts.
            return os.read(stdin, 64).decode("utf-8", "replace")[:1]

        settings = termios.tcgetattr(stdin)
        try:
            tty.setcbreak(stdin)
            yield read_key
        finally:
            # Flush, so that keys typed in the meantime do not reach the shell.
            termios.tcsetattr(stdin, termios.TCSAFLUSH, settings)
