"""Wait for Postgres, at most DB_WAIT_TIMEOUT seconds; exit 0 as soon as it answers, else 1.

A look is `nc -z` first, then a real `SELECT 1`: a server that is stopped, or still initialising,
accepts connections too.
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
from app.boot.progress import say

INTERVAL = 0.25  # from one look to the next
LIMIT = 5.0  # for one SELECT 1; a server that thaws answers the one under way


def main() -> int:
    # nc would outlive a signal by up to a second, so it goes with the whole group.
    os.setpgrp()
    signal.signal(signal.SIGTERM, lambda *_: os.killpg(0, signal.SIGKILL))
    entrypoint = int(os.environ["ENTRYPOINT_PID"])
    found = threading.Event()
    # Looking has its own thread, so that nothing (a name server, say) delays the count below.
    threading.Thread(target=look_until, args=(found,), daemon=True).start()
    run_dir, seconds = settings.load().run_dir, int(os.environ["DB_WAIT_TIMEOUT"])
    began = time.monotonic()
    for second in range(1, seconds + 1):
        if found.wait(began + second - time.monotonic()):
            return 0
        if os.getppid() != entrypoint:
            return 1
        say(f"Attempt {second}/{seconds}... (waiting)")
        note(run_dir, second, seconds)
    return 1


def note(run_dir: Path, second: int, seconds: int) -> None:
    """Put the count into the boot state; replacing that is safe, as nobody else writes it now."""
    with contextlib.suppress(OSError):
        count = {"database_attempts": second, "database_limit": seconds}
        progress.write(run_dir, **progress.read(run_dir) | count)


def look_until(found: threading.Event) -> None:
    """Look again and again; tell each reason why the server cannot be used once."""
    config = settings.load()
    told = {""}
    while not found.is_set():
        began = time.monotonic()
        reason = look(config)
        if reason is None:
            found.set()
        elif reason not in told:
            told.add(reason)
            say(reason)
        time.sleep(max(0.0, began + INTERVAL - time.monotonic()))


def look(config: settings.Settings) -> str | None:
    """None when Postgres answers a query, else the reason; empty while it is simply not there."""
    try:
        knock(config.db_host, config.db_port)
    except socket.gaierror as error:
        return f"DB_HOST {config.db_host} is not found: {error.strerror}"
    except OSError:
        return ""
    try:
        postgres.select_one(config, LIMIT)
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return f"Postgres can be reached, but not used: {lines[0]}"
    return None


def knock(host: str, port: int) -> None:
    """Raise OSError unless something listens. `nc -z` decides, if it can.

    Python's own socket does where nc is missing or has something to say: that it knows no -z, or
    not the host.
    """
    try:
        nc = subprocess.run(
            ["nc", "-z", "-w", "1", host, str(port)], capture_output=True, timeout=2
        )
        silent = not nc.stderr
    except (OSError, subprocess.TimeoutExpired):
        silent = False
    if not silent:
        socket.create_connection((host, port), 1).close()
    elif nc.returncode:
        raise ConnectionRefusedError


if __name__ == "__main__":
    os._exit(main())  # without waiting for a look that hangs
