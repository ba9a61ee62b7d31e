"""A terminal for tests: a command that runs in it, its keys, its size, and what it leaves behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator

from harness.stacks import Stack

HIDE_CURSOR, SHOW_CURSOR = b"\x1b[?25l", b"\x1b[?25h"  # the cursor
ENTER_ALT_SCREEN, LEAVE_ALT_SCREEN = b"\x1b[?1049h", b"\x1b[?1049l"  # the alternate screen
CURSOR_HOME = "\x1b[H"


class Terminal:
    """A command in a terminal of its own, which is its controlling one: Ctrl-C is a signal there."""

    def __init__(self, stack: Stack, words: tuple[str, ...], columns: int, rows: int) -> None:
        self.leader, self.follower = pty.openpty()
        self.resize(columns, rows)
        self.before = termios.tcgetattr(self.follower)
        self.written = b""
        self.process = subprocess.Popen(
            stack.command(*words),
            cwd=stack.root,
            env=stack.environment | {"TERM": "xterm-256color"},
            stdin=self.follower,
            stdout=self.follower,
            stderr=self.follower,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )

    def resize(self, columns: int, rows: int) -> None:
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self.follower, termios.TIOCSWINSZ, size)

    def press(self, keys: str) -> None:
        os.write(self.leader, keys.encode())

    def until(self, text: str, seconds: float = 60) -> None:
        """Wait until it has written a text, colours aside, that it had not written before."""
        at = len(self.written)
        deadline = time.monotonic() + seconds
        while text not in (shown := _plain(self.written[at:])):
            assert time.monotonic() < deadline, (text, shown[-2000:])
            assert self.process.poll() is None, (text, shown[-2000:])
            self._read(0.1)

    def until_drawn(self, rows: int, seconds: float = 30) -> None:
        """Wait until it has drawn a screen of so many lines."""
        deadline = time.monotonic() + seconds
        self.until(CURSOR_HOME)
        while len(self.drawn) != rows:
            assert time.monotonic() < deadline, (rows, self.drawn)
            self.until(CURSOR_HOME)

    def _read(self, seconds: float) -> bool:
        if select.select([self.leader], [], [], seconds)[0]:
            self.written += os.read(self.leader, 65536)
            return True
        return False

    @property
    def drawn(self) -> list[str]:
        """The lines of the last screen that was drawn in full, their colours aside."""
        screen = _plain(self.written).split(CURSOR_HOME)[-2]
        return re.sub("\x1b\\[[0-9;?]*[a-zA-Z]", "", screen).split("\r\n")

    def end(self, seconds: float = 15) -> int:
        """The exit code, once it has ended, and the terminal is as it was before."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < deadline, "it goes on"
            self._read(0.05)
        while self._read(0.1):
            pass
        assert b"Traceback" not in self.written
        assert termios.tcgetattr(self.follower) == self.before
        assert self.written.count(ENTER_ALT_SCREEN) == self.written.count(LEAVE_ALT_SCREEN)
        assert self.written.count(HIDE_CURSOR) <= self.written.count(SHOW_CURSOR)
        return self.process.returncode


def _plain(written: bytes) -> str:
    return re.sub("\x1b\\[[0-9;]*m", "", written.decode("utf-8", "replace"))


@contextlib.contextmanager
def terminal(stack: Stack, *words: str, columns: int = 80, rows: int = 24) -> Iterator[Terminal]:
    """`inv` in a terminal; killed in the end if it still runs."""
    opened = Terminal(stack, words, columns, rows)
    try:
        yield opened
    finally:
        if opened.process.poll() is None:
            os.killpg(opened.process.pid, signal.SIGKILL)
            opened.process.wait()
        os.close(opened.leader)
        os.close(opened.follower)
