"""Run ALEMBIC_CMD: one attempt of the entrypoint's, or one after another in the background.

    python -m app.boot.migrations         one attempt; ends with Alembic's code, or 124 after
                                          MIGRATE_TIMEOUT
    python -m app.boot.migrations 64 6    after six failed attempts: every 64 seconds until one
                                          succeeds

Alembic's output passes through as it comes. The cause of a failure is told in one line, once;
errors and tracebacks of a later attempt that only repeat it are left out.
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

LOOK = 0.25  # seconds between two looks at the clock and the parent
GRACE = 5.0  # from SIGTERM to SIGKILL
ORPHAN_GRACE = 1.0  # the same once nobody waits for us any more
TAIL = 65536  # bytes at the end of the output, in which the cause is looked for

# How Python and Alembic begin to tell of a failure, and what follows up to the cause itself.
_FAILURE = re.compile(
    rb"^(?:Traceback \(most recent call last\):\n(?:[ \t].*\n)*| *FAILED: |ERROR +\[.*?\] )",
    re.MULTILINE,
)
_PR_SET_PDEATHSIG = 1


class Parent:
    """Whoever waits for us: the entrypoint, later the application in the same process."""

    def __init__(self) -> None:
        self._pid = int(os.environ["ENTRYPOINT_PID"])  # it may have ended before we got here
        self._signalled = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, *_: object) -> None:
        self._signalled = True

    def patience(self) -> float:
        """Seconds that Alembic may take to end; infinite as long as it is wanted."""
        if os.getppid() != self._pid:
            return ORPHAN_GRACE
        return GRACE if self._signalled else math.inf

    def wants_us(self) -> bool:
        return self.patience() == math.inf


class Relay:
    """Passes one stream of Alembic's on and keeps its end.

    With `hold`, what tells of a failure is held back until `finish`.
    """

    def __init__(self, source: int, target: int, hold: bool) -> None:
        self.source, self.target, self.hold = source, target, hold
        self.tail = self.held = b""
        os.set_blocking(source, False)

    def pump(self) -> bool:
        """Pass on what there is to read; false when there is nothing."""
        try:
            data = os.read(self.source, TAIL)
        except BlockingIOError:
            return False
        self.tail = (self.tail + data)[-TAIL:]
        self.held += data
        if not self.hold:
            self._release(len(self.held))
        elif failure := _FAILURE.search(self.held):
            self._release(failure.start())
        else:
            self._release(self.held.rfind(b"\n") + 1)  # the rest may become the first words of one
        return bool(data)

    def finish(self, repeated: bool) -> None:
        """Pass on what was held back, unless it repeats what is known."""
        if not repeated:
            self._release(len(self.held))

    def _release(self, count: int) -> None:
        data, self.held = self.held[:count], self.held[count:]
        while data:
            data = data[os.write(self.target, data) :]


def attempt(run_dir: Path, parent: Parent) -> int:
    """Run ALEMBIC_CMD to its end; its exit code, counted as a shell does."""
    known = _known_cause(run_dir)
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
        _tell(run_dir, f"ALEMBIC_CMD: {command[0]}: {error.strerror}", known)
        return 126 if isinstance(error, PermissionError) else 127
    with process:
        relays = [
            Relay(stream.fileno(), target, hold=bool(known))
            for target, stream in ((2, process.stderr), (1, process.stdout))
        ]
        late = _watch(process, relays, limit, parent)
    code, cause = process.returncode, _cause([relay.tail for relay in relays])
    if late:
        code, cause = 124, f"it took longer than MIGRATE_TIMEOUT, {limit:g}s, and was ended"
    elif code < 0:
        code, cause = 128 - code, f"it was ended by signal {-code}"
    for relay in relays:
        relay.finish(repeated=code != 0 and cause == known)
    if code and parent.wants_us():
        _tell(run_dir, cause, known)
    return code


def _watch(
    process: subprocess.Popen[bytes], relays: list[Relay], limit: float, parent: Parent
) -> bool:
    """Relay until the process has ended, or end it; true when it reached its limit."""
    began, late, kill_at = time.monotonic(), False, math.inf
    with selectors.DefaultSelector() as selector:
        for relay in relays:
            selector.register(relay.source, selectors.EVENT_READ, relay)
        while process.poll() is None:
            if selector.get_map():
                for key, _ in selector.select(LOOK):
                    if not key.data.pump():
                        selector.unregister(key.fileobj)
            else:  # it closed both streams: it has ended, or is about to
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(LOOK)
            now = time.monotonic()
            late = late or now - began > limit
            patience = GRACE if late else parent.patience()
            if now > kill_at:
                _signal_group(process, signal.SIGKILL)
            elif kill_at == math.inf and patience < math.inf:
                _signal_group(process, signal.SIGTERM)
                kill_at = now + patience
    if kill_at < math.inf:
        _signal_group(process, signal.SIGKILL)  # what it started and left behind
    for relay in relays:
        while relay.pump():
            pass
    return late


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: the second
        os.killpg(process.pid, number)


def _die_with_parent() -> None:
    """Runs in the child: were we killed with SIGKILL, Alembic would go on. Only Linux can help it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _cause(outputs: list[bytes]) -> str:
    """The line that tells why: of the last failure, else the last. The first output counts most."""
    line = b"no output"
    for output in reversed(outputs):
        line = next(reversed(output.strip().splitlines()), line)
    for output in reversed(outputs):
        if failures := list(_FAILURE.finditer(output)):
            line = output[failures[-1].end() :].partition(b"\n")[0]
    return line.decode("utf-8", "replace").strip()[:500]


def _known_cause(run_dir: Path) -> str:
    with contextlib.suppress(OSError):
        return progress.cause(run_dir).read_text("utf-8")
    return ""


def _tell(run_dir: Path, cause: str, known: str) -> None:
    if cause == known:
        progress.say("Cause: the same as before.")
        return
    progress.say(f"Cause: {cause}")
    with contextlib.suppress(OSError):
        progress.cause(run_dir).write_text(cause, "utf-8")


def background(run_dir: Path, parent: Parent, delay: str, attempts: int) -> None:
    """Try until it succeeds, or until the application has ended."""
    while parent.wants_us():
        attempts += 1
        code = attempt(run_dir, parent)
        if code == 0:
            with contextlib.suppress(OSError):
                progress.add(run_dir, migrations="applied")
            progress.say("✓ Migrations applied successfully.")
            progress.say(f"It was attempt {attempts}, in the background.")
            return
        if parent.wants_us():
            progress.say(
                f"Attempt {attempts} in the background failed with code {code}. Next in {delay}s..."
            )
        again = time.monotonic() + float(delay)
        while parent.wants_us() and time.monotonic() < again:
            time.sleep(min(LOOK, float(delay)))


def main(arguments: list[str]) -> int:
    run_dir, parent = settings.load().run_dir, Parent()
    if not arguments:
        return attempt(run_dir, parent)
    delay, attempts = arguments
    background(run_dir, parent, delay, int(attempts))
    return 0


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))  # with nothing to put in order, sooner
