"""Single keys from the terminal, without Enter and without their echo, on every system."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Pressed = Callable[[float], str]
"""Waits at most so many seconds for a key, and returns it; without one, an empty text."""


@contextmanager
def keyboard() -> Iterator[Pressed | None]:
    """The keys of the terminal, which is as before in the end; None where stdin is none."""
    if not sys.stdin.isatty():
        yield None
    elif sys.platform == "win32":
        yield _pressed_on_windows
    else:
        with _unbuffered() as pressed:
            yield pressed


if sys.platform == "win32":

    def _pressed_on_windows(seconds: float) -> str:
        import msvcrt

        deadline = time.monotonic() + seconds
        while not msvcrt.kbhit():
            if time.monotonic() > deadline:
                return ""
            time.sleep(0.02)  # a console has nothing to wait on
        return msvcrt.getwch()

else:

    @contextmanager
    def _unbuffered() -> Iterator[Pressed]:
        import os
        import select
        import termios
        import tty

        keys = sys.stdin.fileno()

        def pressed(seconds: float) -> str:
            if not select.select([keys], [], [], seconds)[0]:
                return ""
            # The first of what came: an arrow is several characters, and means nothing here.
            return os.read(keys, 64).decode("utf-8", "replace")[:1]

        before = termios.tcgetattr(keys)
        try:
            tty.setcbreak(keys)
            yield pressed
        finally:
            # What was typed meanwhile was meant for us, not for the shell.
            termios.tcsetattr(keys, termios.TCSAFLUSH, before)
