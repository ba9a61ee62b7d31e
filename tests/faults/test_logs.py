"""Logs that contain invalid UTF-8, long lines and escape sequences."""

import json
import os
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from harness import dockerized, engines
from harness.servers import wait_until
from invoke_stack.runtimes.docker import engine
from tests.faults.test_engine import service
from tests.integration.compose.test_engine import run, texts

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def client():
    dockerized.require_engine()
    return engine.connect(os.environ)


@pytest.mark.parametrize("tty", [False, True])
def test_f26_log_stream_decodes_any_bytes(client, tty):
    script = r"printf 'plain\n\351\303\n'; printf 'caf\303\251\n'; printf '\033[31mred\033[0m\n'"
    script += "; head -c 40000 /dev/zero | tr '\\0' x; echo; printf end"
    identity = run(script, *(["-t"] if tty else []))
    try:
        wait_until("the last line", lambda: ("stdout", "end") in texts(client, identity, tty=tty))
        lines = [text for _, text in texts(client, identity, tty=tty)]
        assert lines[0] == "plain"
        assert "café" in lines
        assert "\x1b[31mred\x1b[0m" in lines
        assert len(max(lines, key=len)) >= 16_000
        assert texts(client, identity, tty=tty, tail=1) == [("stdout", "end")]
    finally:
        dockerized.docker("rm", "-f", identity)


@pytest.mark.parametrize("tty", [False, True])
def test_f26_logs_remove_escape_sequences(tmp_path, tty):
    script = r"printf '\033]0;title\007\033[2J\033[31mred\033[0m \351\303\n'; exec sleep 1000"
    services = service("rude", script) + f"    tty: {str(tty).lower()}\n"
    with engines.project(tmp_path / "rude", services) as stack:
        wait_until("the line", lambda: "red" in stack.ok("logs", "rude"))
        output = stack.ok("logs", "rude")
    assert output.strip().startswith("red ")
    assert "\x1b" not in output
    assert "\x07" not in output


def test_f45_grep_shows_the_last_matches_of_the_whole_log(tmp_path, measured):
    script = "echo match 1; echo match 2; seq 1000; exec sleep 1000"
    with engines.project(tmp_path / "long", service("long", script)) as stack:
        wait_until("the last line", lambda: "1000" in stack.ok("logs", "long"))
        assert stack.ok("logs", "long", "--grep", "match").split() == ["match", "1", "match", "2"]
        assert stack.ok("logs", "long", "--grep", "match", "--tail", "1") == "match 2\n"
    measured("found before 1,000 other lines")


def test_f50_since_means_what_docker_logs_means(tmp_path, measured):
    script = "for i in 1 2 3; do echo line $i; sleep 1; done; exec sleep 1000"
    berlin = {"TZ": "Europe/Berlin"}
    with engines.project(tmp_path / "timed", service("timed", script)) as stack:
        wait_until("the last line", lambda: "line 3" in stack.ok("logs", "timed"))
        last = json.loads(stack.ok("logs", "timed", "--tail", "1", "--json"))
        moment = datetime.fromisoformat(last["time"]) - timedelta(seconds=0.5)
        local = moment.astimezone(ZoneInfo("Europe/Berlin"))
        for since, lines in {
            f"{local:%Y-%m-%dT%H:%M:%S.%f}": 1,
            f"{moment.timestamp():.3f}": 1,
            moment.isoformat(): 1,
            f"{local - timedelta(days=1):%Y-%m-%d}": 3,
            "1h30m": 3,
        }.items():
            command = ("logs", "--since", since, *stack.containers("timed"))
            theirs = dockerized.docker(*command, env={**os.environ, **berlin}).stdout
            ours = stack.ok("logs", "timed", "--since", since, env=berlin)
            assert ours == theirs, since
            assert len(ours.splitlines()) == lines
    measured("the lines of `docker logs` for five kinds of times")
