"""Colours and escapes, depending on the environment."""

import sys

import pytest

from invoke_stack.cli import glue


class FakeTerminal:
    """A terminal that records what is written to it."""

    encoding = "utf-8"

    def __init__(self):
        self.written = ""

    def isatty(self):
        return True

    def write(self, text):
        self.written += text

    def flush(self):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no TERM")
@pytest.mark.parametrize(
    ("environ", "is_styled"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, False),
        ({"TERM": "xterm-256color", "NO_COLOR": ""}, True),
        ({"TERM": "dumb"}, False),
        ({}, False),
    ],
)
def test_console_writes_no_escapes_when_the_terminal_has_no_colour(monkeypatch, environ, is_styled):
    fake_terminal = FakeTerminal()
    monkeypatch.setattr(sys, "stdout", fake_terminal)
    for name in ("TERM", "NO_COLOR", "FORCE_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    console = glue.make_console()
    console.print("[dim]dim[/] [bold]bold[/] [red]red[/]")
    assert ("\x1b" in fake_terminal.written) is is_styled
    assert glue.has_colour(console) is is_styled


def test_stop_status_accepts_a_status_whose_start_was_interrupted():
    status = glue.make_console().status("waiting")
    status._live._started = True  # as if Ctrl-C came before Rich registered the display
    glue.stop_status(status)
