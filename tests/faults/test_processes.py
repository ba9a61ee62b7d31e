"""Processes of the stack are killed, restarted, and interrupted."""

import json
import os
import pty
import select
import signal
import subprocess
import termios
import time

import pytest

from harness.servers import wait_until
from tests.faults.test_engine import following


def test_f17_a_killed_backend_comes_back_and_is_counted(stack, measured):
    before = stack.service("backend")
    stack.kill("backend")
    begin = time.monotonic()
    wait_until(
        "a new start", lambda: stack.service("backend")["started_at"] != before["started_at"], 15
    )
    wait_until("health", stack.is_healthy, 15)
    seconds = time.monotonic() - begin
    assert seconds <= 15
    assert stack.service("backend")["restarts"] == before["restarts"] + 1
    stack.ok("restart-backend", "--no-logs")
    assert stack.service("backend")["restarts"] == 0
    measured(f"green again after {seconds:.1f} s")


def test_f23_ten_restarts_under_a_follower(stack, measured):
    """The follower never ends, and shows what the log holds."""
    with following(stack, "frontend", "--tail", "1", "--json") as lines:
        wait_until("it follows", lambda: len(lines()) == 1)
        for _ in range(10):
            if stack.runtime == "local":
                stack.ok("restart", "frontend", "--no-logs")
            else:  # without waiting for its health check, which takes 10 s
                stack.compose("restart", "frontend")
        told = stack.ok("logs", "frontend", "--tail", "100000", "--json").splitlines()
        complete = told[told.index(lines()[0]) :]
        wait_until("all lines", lambda: len(lines()) >= len(complete))
        shown = lines()
    assert shown[: len(complete)] == complete
    starts = sum("Started server process" in json.loads(line)["text"] for line in shown)
    measured(f"{len(shown)} lines once and in order")
    assert starts >= 10 or stack.runtime != "local"


VERBS = [
    ("up",),
    ("health", "--watch"),
    ("status", "--watch"),
    ("status",),
    ("health",),
    ("logs", "--follow"),
    ("restart-backend",),
    ("restart", "frontend"),
    ("doctor",),
    ("restart-backend", "--dry-run"),
    ("migrations",),
    ("backup",),
]


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_f32_ctrl_c_in_every_verb(stack, words):
    """In a terminal, as soon as it shows something: 130, or it had ended in that very moment."""
    leader, follower = pty.openpty()
    before = termios.tcgetattr(follower)
    process = subprocess.Popen(
        stack.command(*words),
        cwd=stack.root,
        env=stack.environment | {"TERM": "xterm-256color"},
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
    )
    shown = b""
    deadline = time.monotonic() + 60
    while process.poll() is None:
        assert time.monotonic() < deadline, shown
        if select.select([leader], [], [], 0.05)[0]:
            if not shown:
                os.killpg(process.pid, signal.SIGINT)
            shown += os.read(leader, 65536)
    while select.select([leader], [], [], 0.1)[0]:
        shown += os.read(leader, 65536)
    endless = {"--watch", "--follow"} & set(words)
    assert process.returncode in ((130,) if endless else (130, 0)), shown
    assert b"Traceback" not in shown
    assert termios.tcgetattr(follower) == before
    assert shown.count(b"\x1b[?25l") <= shown.count(b"\x1b[?25h")  # the cursor shows
    assert shown.count(b"\x1b[?1049h") == shown.count(b"\x1b[?1049l")  # the screen is back
    os.close(leader)
    os.close(follower)
    wait_until("it is healthy", stack.is_healthy, 60)
