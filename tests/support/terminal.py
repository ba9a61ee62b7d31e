"""A pseudo-terminal for tests: run a command in it, press keys, resize it, read the screen."""

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

HIDE_CURSOR, SHOW_CURSOR = b"\x1b[?25l", b"\x1b[?25h"
ENTER_ALT_SCREEN, LEAVE_ALT_SCREEN = b"\x1b[?1049h", b"\x1b[?1049l"
CURSOR_HOME = "\x1b[H"


class Terminal:
    """`inv` with a pseudo-terminal as its controlling terminal, so that Ctrl-C sends SIGINT."""

    def __init__(self, stack: Stack, arguments: tuple[str, ...], columns: int, rows: int) -> None:
        self.leader, self.follower = pty.openpty()
        self.resize(columns, rows)
        self.before = termios.tcgetattr(self.follower)
        self.written = b""
        self.process = subprocess.Popen(
            stack.command(*arguments),
            cwd=stack.root,
            env=stack.environment | {"TERM": "xterm-256color"},
            stdin=self.follower,
            stdout=self.follower,
            stderr=self.follower,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )

    def resize(self, columns: int, rows: int) -> None:
        """Change the size of the terminal."""
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self.follower, termios.TIOCSWINSZ, size)

    def press(self, keys: str) -> None:
        """Send keys to the command."""
        os.write(self.leader, keys.encode())

    def until(self, text: str, seconds: float = 60) -> None:
        """Wait until the command writes a text from now on; colours are ignored."""
        start = len(self.written)
        deadline = time.monotonic() + seconds
        while text not in (output := _without_colours(self.written[start:])):
            assert time.monotonic() < deadline, (text, output[-2000:])
            assert self.process.poll() is None, (text, output[-2000:])
            self._read(0.1)

    def until_drawn(self, rows: int, seconds: float = 30) -> None:
        """Wait until the command has drawn a screen with this number of lines."""
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
        """The lines of the last complete screen, without escape sequences."""
        screen = _without_colours(self.written).split(CURSOR_HOME)[-2]
        return re.sub("\x1b\\[[0-9;?]*[a-zA-Z]", "", screen).split("\r\n")

    def end(self, seconds: float = 15) -> int:
        """Wait for the exit code, and check that the command has restored the terminal."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < deadline, "it is still running"
            self._read(0.05)
        while self._read(0.1):
            pass
        assert b"Traceback" not in self.written
        assert termios.tcgetattr(self.follower) == self.before
        assert self.written.count(ENTER_ALT_SCREEN) == self.written.count(LEAVE_ALT_SCREEN)
        assert self.written.count(HIDE_CURSOR) <= self.written.count(SHOW_CURSOR)
        return self.process.returncode


def _without_colours(written: bytes) -> str:
    return re.sub("\x1b\\[[0-9;]*m", "", written.decode("utf-8", "replace"))


@contextlib.contextmanager
def terminal(
    stack: Stack, *arguments: str, columns: int = 80, rows: int = 24
) -> Iterator[Terminal]:
    """Run `inv` in a terminal; kill it on exit if it is still running."""
    opened = Terminal(stack, arguments, columns, rows)
    try:
        yield opened
    finally:
        if opened.process.poll() is None:
            os.killpg(opened.process.pid, signal.SIGKILL)
            opened.process.wait()
        os.close(opened.leader)
        os.close(opened.follower)
