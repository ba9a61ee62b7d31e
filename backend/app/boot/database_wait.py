"""Wait for Postgres for at most DB_WAIT_TIMEOUT seconds; exit 0 as soon as it answers, else 1.

A check is `nc -z`, then a `SELECT 1`: a server that is frozen or still initialising also accepts
connections.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

from app import settings
from app.boot import postgres, progress

POLL_INTERVAL = 0.25  # seconds
QUERY_TIMEOUT = 5.0  # seconds; long, so that a server that thaws answers the in-flight query


def main() -> int:
    """Wait for Postgres and return the exit code."""
    # nc would outlive a signal by up to a second, so the signal kills the whole process group.
    os.setpgrp()
    signal.signal(signal.SIGTERM, lambda *_: os.killpg(0, signal.SIGKILL))
    entrypoint = int(os.environ["ENTRYPOINT_PID"])
    ready = threading.Event()
    # In a thread, so that a slow name server, for example, does not delay the count below.
    threading.Thread(target=poll_until_ready, args=(ready,), daemon=True).start()
    run_dir, seconds = settings.load().run_dir, int(os.environ["DB_WAIT_TIMEOUT"])
    started_at = time.monotonic()
    for second in range(1, seconds + 1):
        if ready.wait(started_at + second - time.monotonic()):
            return 0
        if os.getppid() != entrypoint:
            return 1
        progress.log(f"Attempt {second}/{seconds}... (waiting)")
        record_attempt(run_dir, second, seconds)
    return 1


def record_attempt(run_dir: Path, second: int, seconds: int) -> None:
    """Write the count to the boot state. Replacing the file is safe: it has no other writer yet."""
    with contextlib.suppress(OSError):
        counts = {"database_attempts": second, "database_limit": seconds}
        progress.write(run_dir, **progress.read(run_dir) | counts)


def poll_until_ready(ready: threading.Event) -> None:
    """Check Postgres until it is ready, and log each reason why it is not once."""
    config = settings.load()
    logged_reasons = {""}
    while not ready.is_set():
        started_at = time.monotonic()
        reason = check(config)
        if reason is None:
            ready.set()
        elif reason not in logged_reasons:
            logged_reasons.add(reason)
            progress.log(reason)
        time.sleep(max(0.0, started_at + POLL_INTERVAL - time.monotonic()))


def check(config: settings.Settings) -> str | None:
    """Return None if Postgres answers a query, else the reason; empty if nothing listens."""
    try:
        check_port(config.db_host, config.db_port)
    except socket.gaierror as error:
        return f"DB_HOST {config.db_host} is not found: {error.strerror}"
    except OSError:
        return ""
    try:
        postgres.select_one(config, QUERY_TIMEOUT)
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return f"Postgres can be reached, but not used: {lines[0]}"
    return None


def check_port(host: str, port: int) -> None:
    """Check with `nc -z` that the port is open. Raises `OSError` if it is not.

    Falls back to a Python socket if nc is missing or prints an error, such as an unknown option or
    an unknown host.
    """
    try:
        nc = subprocess.run(
            ["nc", "-z", "-w", "1", host, str(port)], capture_output=True, timeout=2
        )
        is_decided = not nc.stderr
    except (OSError, subprocess.TimeoutExpired):
        is_decided = False
    if not is_decided:
        socket.create_connection((host, port), 1).close()
    elif nc.returncode:
        raise ConnectionRefusedError


if __name__ == "__main__":
    os._exit(main())  # does not wait for a check that hangs
