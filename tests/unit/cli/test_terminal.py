"""What a terminal is given, by what the environment says of it."""

import sys

import pytest

from invoke_stack.cli import glue


class Screen:
    """A terminal that remembers."""

    encoding = "utf-8"

    def __init__(self):
        self.written = ""

    def isatty(self):
        return True

    def write(self, text):
        self.written += text

    def flush(self):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="a terminal there has no TERM")
@pytest.mark.parametrize(
    ("environ", "styled"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, False),
        ({"TERM": "xterm-256color", "NO_COLOR": ""}, True),
        ({"TERM": "dumb"}, False),
        ({}, False),
    ],
)
def test_no_style_reaches_a_terminal_that_wants_none(monkeypatch, environ, styled):
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    for name in ("TERM", "NO_COLOR", "FORCE_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    console = glue.terminal()
    console.print("[dim]dim[/] [bold]bold[/] [red]red[/]")
    assert ("\x1b" in screen.written) is styled
    assert glue.coloured(console) is styled


def test_stop_status_stops_one_that_was_interrupted_in_its_start():
    status = glue.terminal().status("waiting")
    status._live._started = True  # Ctrl-C came before Rich had noted the display
    glue.stop_status(status)
