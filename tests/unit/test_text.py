"""Foreign names and answers never control the terminal."""

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
CONTROLS = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069]"
)
STYLE = re.compile(r"\x1b\[[0-9;]*m")
HOSTILE_TEXT = st.text() | st.sampled_from(
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


def plain_output(console):
    text = console.file.getvalue()
    text.encode("utf-8")
    plain = STYLE.sub("", text)
    assert not CONTROLS.search(plain)
    return plain


def replica(text):
    return model.Replica(
        "s", text, text, model.Status.EXITED, text, NOW, image=text, ports=(text,), reason=text
    )


def health(text):
    state, details = model.State.UNHEALTHY, (model.Detail(text, text, False),)
    body = {"version": text}
    return model.Health("s", text, text, state, text, 503, 1.0, NOW, body, text, text, details)


@settings(max_examples=50, deadline=None)
@given(HOSTILE_TEXT, st.booleans())
def test_screens_send_no_control_characters_to_the_terminal(text, terminal):
    out = console(terminal)
    schema = model.Schema(text, f"{text}x", (text,))
    phases = (model.Phase(text, 1.0, 1, text, text),)
    boots = {text: model.Boot(phases)}
    snapshot = model.Snapshot(text, ("s",), (replica(text),), schema, boots)
    history = History()
    history.add([health(text)])
    poll_state = PollState()
    poll_state.record(OutOfReach(text, text), NOW)
    lines = [
        *table.status_lines(snapshot, NOW, 10_000),
        *timeline.timeline_lines(history, [health(text)], NOW, 10_000),
        *timeline.latest_lines(history, [health(text)], NOW),
    ]
    for line in frame.frame_lines(
        out, text, poll_state, lines, now=NOW, polling_since=NOW, quit_hint="q"
    ):
        out.print(line)
    summary.print_health(out, health(text), "local")
    summary.print_verdict(
        out,
        model.Verdict(
            *("s", text, text, model.Outcome.FAILED, NOW, NOW, 1.0, phases, health(text)),
            *(text, text),
        ),
    )
    plain_output(out)


def test_screens_show_markup_of_others_as_text():
    out = console()
    snapshot = model.Snapshot("local", ("s",), (replica("\x1b[red]:smile:[/]"),))
    for line in table.status_lines(snapshot, NOW, 10_000):
        out.print(line)
    assert "[red]:smile:[/]" in plain_output(out)


def test_log_lines_keep_our_colours():
    out = console()
    out.out("\x1b[36mx\x1b[0m", highlight=False)
    assert out.file.getvalue() == "\x1b[36mx\x1b[0m\n"


@given(HOSTILE_TEXT)
def test_json_escapes_control_characters(text):
    rendered = documents.dumps({"reason": text})
    rendered.encode("utf-8")
    assert not CONTROLS.search(rendered)
    assert json.loads(rendered) == {"reason": text}


def test_notices_contain_no_control_characters(capsys):
    glue.say("Docker refused: \x1b]0;title\x07\x1b[31mno\nreally")
    assert capsys.readouterr().err == "Docker refused: no\nreally\n"


class HostileServer(http.server.BaseHTTPRequestHandler):
    """Answers with control characters in every value."""

    def do_GET(self):
        text = "\x9b31m\x1b]0;title\x07\u202e\ud800[/]"
        body = {"db": text, "redis": True, "queue_depth": text, "migrations": text, "phase": text}
        body |= {"version": text, "ok": text, "detail": text}
        data = json.dumps(body).encode()
        self.send_response(503)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_health_of_a_foreign_service_sends_no_control_characters(flags):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), HostileServer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        command = [sys.executable, "-m", "invoke", "--debug", "health", "--url", url, *flags]
        result = subprocess.run(command, cwd=ROOT, env=clean_environment(), capture_output=True)
        server.shutdown()
    assert result.returncode == 3
    assert "title" in result.stdout.decode()
    assert not CONTROLS.search(result.stdout.decode())
