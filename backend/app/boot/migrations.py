"""Run ALEMBIC_CMD: one attempt for the entrypoint, or repeated attempts in the background.

    python -m app.boot.migrations         one attempt; exits with Alembic's code, or 124 after
                                          MIGRATE_TIMEOUT
    python -m app.boot.migrations 64 6    after six failed attempts: retry every 64 seconds until
                                          one succeeds

Alembic's output is relayed as it comes. The cause of a failure is logged once, in one line; errors
and tracebacks of later attempts that repeat it are dropped.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path

from app import settings
from app.boot import command_line, progress

POLL_INTERVAL = 0.25  # seconds between two checks of the clock and the parent process
STOP_GRACE = 5.0  # seconds from SIGTERM to SIGKILL
ORPHAN_STOP_GRACE = 1.0  # the same once the parent process has exited
TAIL_SIZE = 65536  # bytes at the end of the output that are searched for the cause

# The start of an error message of Python or Alembic, up to the cause itself.
_FAILURE = re.compile(
    rb"^(?:Traceback \(most recent call last\):\n(?:[ \t].*\n)*| *FAILED: |ERROR +\[.*?\] )",
    re.MULTILINE,
)
_PR_SET_PDEATHSIG = 1


class Parent:
    """The parent process: the entrypoint, which later becomes the application."""

    def __init__(self) -> None:
        self._pid = int(os.environ["ENTRYPOINT_PID"])  # getppid() is wrong if it exited already
        self._is_signalled = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, *_: object) -> None:
        self._is_signalled = True

    def stop_grace(self) -> float:
        """Return how many seconds Alembic gets to stop; infinity unless it must stop."""
        if os.getppid() != self._pid:
            return ORPHAN_STOP_GRACE
        return STOP_GRACE if self._is_signalled else math.inf

    def needs_result(self) -> bool:
        """Return True until the parent has exited, or this process got a signal to stop."""
        return self.stop_grace() == math.inf


class Relay:
    """Forwards one output stream of Alembic and keeps its tail.

    With `buffer_errors`, error messages are buffered until `finish`.
    """

    def __init__(self, source: int, target: int, buffer_errors: bool) -> None:
        self.source, self.target, self.buffer_errors = source, target, buffer_errors
        self.tail = self._buffer = b""
        os.set_blocking(source, False)

    def pump(self) -> bool:
        """Forward the available output. Returns False if there is none."""
        try:
            output = os.read(self.source, TAIL_SIZE)
        except BlockingIOError:
            return False
        self.tail = (self.tail + output)[-TAIL_SIZE:]
        self._buffer += output
        if not self.buffer_errors:
            self._write(len(self._buffer))
        elif failure := _FAILURE.search(self._buffer):
            self._write(failure.start())
        else:
            self._write(self._buffer.rfind(b"\n") + 1)  # the rest may be the start of an error
        return bool(output)

    def finish(self, is_repeated: bool) -> None:
        """Forward the buffered error messages, unless they repeat earlier ones."""
        if not is_repeated:
            self._write(len(self._buffer))

    def _write(self, count: int) -> None:
        output, self._buffer = self._buffer[:count], self._buffer[count:]
        while output:
            output = output[os.write(self.target, output) :]


def attempt(run_dir: Path, parent: Parent) -> int:
    """Run ALEMBIC_CMD and return its exit code as a shell would."""
    last_cause = _read_last_cause(run_dir)
    command = command_line.split("ALEMBIC_CMD")
    limit = float(os.environ["MIGRATE_TIMEOUT"]) or math.inf
    try:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
            preexec_fn=_die_with_parent,
        )
    except OSError as error:
        _log_cause(run_dir, f"ALEMBIC_CMD: {command[0]}: {error.strerror}", last_cause)
        return 126 if isinstance(error, PermissionError) else 127
    with process:
        assert process.stdout
        assert process.stderr
        relays = [
            Relay(stream.fileno(), target, buffer_errors=bool(last_cause))
            for target, stream in ((2, process.stderr), (1, process.stdout))
        ]
        is_timeout = _relay_until_exit(process, relays, limit, parent)
    code, cause = process.returncode, _cause([relay.tail for relay in relays])
    if is_timeout:
        code, cause = 124, f"stopped after MIGRATE_TIMEOUT, {limit:g}s"
    elif code < 0:
        code, cause = 128 - code, f"killed by signal {-code}"
    for relay in relays:
        relay.finish(is_repeated=code != 0 and cause == last_cause)
    if code and parent.needs_result():
        _log_cause(run_dir, cause, last_cause)
    return code


def _relay_until_exit(
    process: subprocess.Popen[bytes], relays: list[Relay], limit: float, parent: Parent
) -> bool:
    """Relay the output until the process exits, or stop it. Returns True after a timeout."""
    started_at, is_timeout, kill_at = time.monotonic(), False, math.inf
    with selectors.DefaultSelector() as selector:
        for relay in relays:
            selector.register(relay.source, selectors.EVENT_READ, relay)
        while process.poll() is None:
            if selector.get_map():
                for key, _ in selector.select(POLL_INTERVAL):
                    if not key.data.pump():
                        selector.unregister(key.fileobj)
            else:  # both streams are closed: it has exited, or is about to
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(POLL_INTERVAL)
            now = time.monotonic()
            is_timeout = is_timeout or now - started_at > limit
            grace = STOP_GRACE if is_timeout else parent.stop_grace()
            if now > kill_at:
                _signal_group(process, signal.SIGKILL)
            elif kill_at == math.inf and grace < math.inf:
                _signal_group(process, signal.SIGTERM)
                kill_at = now + grace
    if kill_at < math.inf:
        _signal_group(process, signal.SIGKILL)  # its remaining child processes
    for relay in relays:
        while relay.pump():
            pass
    return is_timeout


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS raises the latter
        os.killpg(process.pid, number)


def _die_with_parent() -> None:
    """Have the kernel kill this child when its parent ends; only Linux can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _cause(outputs: list[bytes]) -> str:
    """Return the cause of the last error, else the last line. Earlier outputs take precedence."""
    line = b"no output"
    for output in reversed(outputs):
        line = next(reversed(output.strip().splitlines()), line)
    for output in reversed(outputs):
        if failures := list(_FAILURE.finditer(output)):
            line = output[failures[-1].end() :].partition(b"\n")[0]
    return line.decode("utf-8", "replace").strip()[:500]


def _read_last_cause(run_dir: Path) -> str:
    with contextlib.suppress(OSError):
        return progress.cause_file(run_dir).read_text("utf-8")
    return ""


def _log_cause(run_dir: Path, cause: str, last_cause: str) -> None:
    if cause == last_cause:
        progress.log("Cause: the same as before.")
        return
    progress.log(f"Cause: {cause}")
    with contextlib.suppress(OSError):
        progress.cause_file(run_dir).write_text(cause, "utf-8")


def retry_in_background(run_dir: Path, parent: Parent, delay: str, attempts: int) -> None:
    """Retry until an attempt succeeds or the application has exited."""
    while parent.needs_result():
        attempts += 1
        code = attempt(run_dir, parent)
        if code == 0:
            with contextlib.suppress(OSError):
                progress.append(run_dir, migrations="applied")
            progress.log("✓ Migrations applied successfully.")
            progress.log(f"Background attempt {attempts} succeeded.")
            return
        if parent.needs_result():
            progress.log(
                f"Attempt {attempts} in the background failed with code {code}. Next in {delay}s..."
            )
        next_attempt_at = time.monotonic() + float(delay)
        while parent.needs_result() and time.monotonic() < next_attempt_at:
            time.sleep(min(POLL_INTERVAL, float(delay)))


def main(arguments: list[str]) -> int:
    """Run one attempt, or retry in the background, and return the exit code."""
    run_dir, parent = settings.load().run_dir, Parent()
    if not arguments:
        return attempt(run_dir, parent)
    delay, attempts = arguments
    retry_in_background(run_dir, parent, delay, int(attempts))
    return 0


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))  # faster: there is nothing to clean up
