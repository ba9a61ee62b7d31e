"""Whatever others call things and answer, a terminal is told nothing by it."""

import http.server
import io
import json
import re
import subprocess
import sys
import threading
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.theme import Theme

from harness.servers import clean_environment
from harness.stacks import ROOT
from invoke_stack import model
from invoke_stack.cli import glue
from invoke_stack.cli.screen import frame, summary, table, timeline
from invoke_stack.cli.screen.console import PlainConsole
from invoke_stack.commands.history import History
from invoke_stack.commands.poll_state import PollState
from invoke_stack.errors import OutOfReach
from invoke_stack.render import documents, palette

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OBEYED = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069]"
)
STYLE = re.compile(r"\x1b\[[0-9;]*m")
RUDE = st.text() | st.sampled_from(
    [
        *("\x1b]0;title\x07", "\x1b[2J", "\x9b31m", "\u202etxt.exe", "a\rb", "\x1b[red]", "[/]"),
        *("\x1b\\[bold]", "[link=http://evil]x", "\ud800", ":smile:", "\x1b]8;;http://evil\x1b\\x"),
    ]
)


def console(terminal=True):
    theme = Theme(palette.THEME)
    return PlainConsole(
        file=io.StringIO(),
        force_terminal=terminal,
        width=10_000,
        height=100,
        theme=theme,
        emoji=False,
        highlight=False,
    )


def shown_by(console):
    text = console.file.getvalue()
    text.encode("utf-8")
    shown = STYLE.sub("", text)
    assert not OBEYED.search(shown)
    return shown


def replica(text):
    return model.Replica(
        "s", text, text, model.Status.EXITED, text, NOW, image=text, ports=(text,), reason=text
    )


def look(text):
    state, details = model.State.UNHEALTHY, (model.Detail(text, text, False),)
    body = {"version": text}
    return model.Health("s", text, text, state, text, 503, 1.0, NOW, body, text, text, details)


@settings(max_examples=50, deadline=None)
@given(RUDE, st.booleans())
def test_no_screen_tells_the_terminal_anything(text, terminal):
    out = console(terminal)
    schema = model.Schema(text, f"{text}x", (text,))
    phases = (model.Phase(text, 1.0, 1, text, text),)
    boots = {text: model.Boot(phases)}
    seen = model.Snapshot(text, ("s",), (replica(text),), schema, boots)
    history = History()
    history.add([look(text)])
    poll_state = PollState()
    poll_state.record(OutOfReach(text, text), NOW)
    shown = [
        *table.status_lines(seen, NOW, 10_000),
        *timeline.timeline_lines(history, [look(text)], NOW, 10_000),
        *timeline.latest_lines(history, [look(text)], NOW),
    ]
    for line in frame.frame_lines(
        out, text, poll_state, shown, now=NOW, polling_since=NOW, quit_hint="q"
    ):
        out.print(line)
    summary.print_health(out, look(text), "local")
    summary.print_verdict(
        out,
        model.Verdict(
            *("s", text, text, model.Outcome.FAILED, NOW, NOW, 1.0, phases, look(text)),
            *(text, text),
        ),
    )
    shown_by(out)


def test_what_looks_like_markup_is_shown_as_it_is():
    out = console()
    seen = model.Snapshot("local", ("s",), (replica("\x1b[red]:smile:[/]"),))
    for line in table.status_lines(seen, NOW, 10_000):
        out.print(line)
    assert "[red]:smile:[/]" in shown_by(out)


def test_log_lines_keep_our_colours():
    out = console()
    out.out("\x1b[36mx\x1b[0m", highlight=False)
    assert out.file.getvalue() == "\x1b[36mx\x1b[0m\n"


@given(RUDE)
def test_json_holds_every_character_and_shows_none_that_is_obeyed(text):
    said = documents.dumps({"reason": text})
    said.encode("utf-8")
    assert not OBEYED.search(said)
    assert json.loads(said) == {"reason": text}


def test_notices_and_errors_are_plain(capsys):
    glue.say("Docker refused: \x1b]0;title\x07\x1b[31mno\nreally")
    assert capsys.readouterr().err == "Docker refused: no\nreally\n"


class Rude(http.server.BaseHTTPRequestHandler):
    """Answers as no backend of ours would."""

    def do_GET(self):
        rude = "\x9b31m\x1b]0;title\x07\u202e\ud800[/]"
        body = {"db": rude, "redis": True, "queue_depth": rude, "migrations": rude, "phase": rude}
        text = json.dumps(body | {"version": rude, "ok": rude, "detail": rude}).encode()
        self.send_response(503)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_a_foreign_service_tells_the_terminal_nothing(words):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Rude) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        command = [sys.executable, "-m", "invoke", "--debug", "health", "--url", url, *words]
        done = subprocess.run(command, cwd=ROOT, env=clean_environment(), capture_output=True)
        server.shutdown()
    assert done.returncode == 3
    assert "title" in done.stdout.decode()
    assert not OBEYED.search(done.stdout.decode())
