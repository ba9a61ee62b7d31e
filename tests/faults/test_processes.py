"""Processes of the stack are killed or restarted; commands are interrupted."""

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


def test_f17_killed_backend_is_restarted_and_counted(stack, measured):
    before = stack.service("backend")
    stack.kill("backend")
    started_at = time.monotonic()
    wait_until(
        "a new start", lambda: stack.service("backend")["started_at"] != before["started_at"], 15
    )
    wait_until("health", stack.is_healthy, 15)
    seconds = time.monotonic() - started_at
    assert seconds <= 15
    assert stack.service("backend")["restarts"] == before["restarts"] + 1
    stack.ok("restart-backend", "--no-logs")
    assert stack.service("backend")["restarts"] == 0
    measured(f"healthy again after {seconds:.1f} s")


def test_f23_follow_shows_every_line_over_ten_restarts(stack, measured):
    """`inv logs --follow` keeps running and prints exactly the lines of the log."""
    with following(stack, "frontend", "--tail", "1", "--json") as lines:
        wait_until("the log is followed", lambda: len(lines()) == 1)
        for _ in range(10):
            if stack.runtime == "local":
                stack.ok("restart", "frontend", "--no-logs")
            else:  # does not wait for the health check, which takes 10 s
                stack.compose("restart", "frontend")
        log = stack.ok("logs", "frontend", "--tail", "100000", "--json").splitlines()
        complete = log[log.index(lines()[0]) :]
        wait_until("all lines", lambda: len(lines()) >= len(complete))
        followed = lines()
    assert followed[: len(complete)] == complete
    starts = sum("Started server process" in json.loads(line)["text"] for line in followed)
    measured(f"{len(followed)} lines once and in order")
    assert starts >= 10 or stack.runtime != "local"


COMMANDS = [
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


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_f32_ctrl_c_ends_every_command_and_restores_the_terminal(stack, arguments):
    """Sent at the first output; the exit code is 0 if the command was just ending."""
    leader, follower = pty.openpty()
    before = termios.tcgetattr(follower)
    process = subprocess.Popen(
        stack.command(*arguments),
        cwd=stack.root,
        env=stack.environment | {"TERM": "xterm-256color"},
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
    )
    output = b""
    deadline = time.monotonic() + 60
    while process.poll() is None:
        assert time.monotonic() < deadline, output
        if select.select([leader], [], [], 0.05)[0]:
            if not output:
                os.killpg(process.pid, signal.SIGINT)
            output += os.read(leader, 65536)
    while select.select([leader], [], [], 0.1)[0]:
        output += os.read(leader, 65536)
    endless = {"--watch", "--follow"} & set(arguments)
    assert process.returncode in ((130,) if endless else (130, 0)), output
    assert b"Traceback" not in output
    assert termios.tcgetattr(follower) == before
    assert output.count(b"\x1b[?25l") <= output.count(b"\x1b[?25h")  # the cursor is visible
    assert output.count(b"\x1b[?1049h") == output.count(b"\x1b[?1049l")  # the main screen is active
    os.close(leader)
    os.close(follower)
    wait_until("it is healthy", stack.is_healthy, 60)
