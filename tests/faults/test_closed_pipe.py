"""The reader of a command's output closes the pipe, as `head -1` does."""

import subprocess

import pytest

from harness.servers import wait_until

READING = [
    "--list",
    "--help restart-backend",
    "health",
    "health --json",
    "health --watch",
    "status",
    "status --watch --json",
    "doctor",
    "logs --tail 500",
    "logs --follow",
    "migrations",
    "restart-backend --dry-run",
]
CHANGING = ["restart-backend", "restart frontend --no-logs", "up --json", "backup", "migrate"]


def run_with_closed_pipe(stack, arguments, unbuffered):
    """Run `inv`, close its stdout after the first line; return the exit code and stderr."""
    environment = {**stack.environment, "PYTHONUNBUFFERED": unbuffered}
    process = subprocess.Popen(
        stack.command(*arguments.split()),
        cwd=stack.root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        process.stdout.readline()
        process.stdout.close()
        stderr = process.stderr.read()
    return process.returncode, stderr


@pytest.mark.parametrize("unbuffered", ["1", ""], ids=["unbuffered", "buffered"])
@pytest.mark.parametrize("arguments", READING)
def test_f59_reading_command_ends_at_a_closed_pipe(stack, arguments, unbuffered):
    code, stderr = run_with_closed_pipe(stack, arguments, unbuffered)
    assert code == 0, stderr
    assert "Traceback" not in stderr
    assert "Broken" not in stderr


@pytest.mark.parametrize("arguments", CHANGING)
def test_f59_changing_command_completes_at_a_closed_pipe(stack, arguments):
    before = stack.service("frontend")["started_at"]
    code, stderr = run_with_closed_pipe(stack, arguments, "1")
    assert code == 0, stderr
    assert "Traceback" not in stderr
    if "frontend" in arguments:
        assert stack.service("frontend")["started_at"] > before
    wait_until("it is healthy", stack.is_healthy)
