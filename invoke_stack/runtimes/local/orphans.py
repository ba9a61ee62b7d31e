"""Finds and stops the processes of a stack, also those that a killed supervisord left behind."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

STATE_VARIABLE = "DEAL_SCOUT_STATE"  # in the environment of every process: its stack's folder


def stop_orphans(state: Path) -> int:
    """Stop the processes that a killed supervisord left behind; return how many there were."""
    import psutil

    count = 0
    for method in ("terminate", "kill", "kill"):
        if not (orphans := processes(state)):
            break
        count = count or len(orphans)
        for process in orphans:
            with suppress(psutil.Error):
                process.resume()
                # SIGINT is PostgreSQL's fast shutdown; SIGTERM would wait for its clients.
                if method == "terminate" and process.name() == "postgres":
                    process.send_signal(2)
                else:
                    getattr(process, method)()
        psutil.wait_procs(orphans, timeout=10)
    return count


def processes(state: Path) -> list[psutil.Process]:
    """Return all processes of the stack with this state folder, whatever their parent.

    They are recognized by a variable in their environment. PostgreSQL and Valkey overwrite theirs,
    and are recognized by name and working directory.
    """
    import psutil

    matches = []
    own_pids = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    servers = {"postgres": state / "postgres", "valkey-server": state / "redis"}
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid not in own_pids and (
                process.environ().get(STATE_VARIABLE) == str(state)
                or (process.name() in servers and Path(process.cwd()) == servers[process.name()])
            ):
                matches.append(process)
    return matches
