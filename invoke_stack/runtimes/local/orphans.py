"""The processes of a stack, whoever watches them: what a supervisord left behind when it died."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

MARK = "DEAL_SCOUT_STATE"  # in the environment of all that we start: whose stack it belongs to


def end_orphans(state: Path) -> int:
    """End what a supervisord that was killed left running; returns how many processes that were."""
    import psutil

    count = 0
    for ask in ("terminate", "kill", "kill"):
        if not (orphans := processes(state)):
            break
        count = count or len(orphans)
        for process in orphans:
            with suppress(psutil.Error):
                process.resume()
                # SIGINT is PostgreSQL's fast shutdown; SIGTERM would wait for its clients.
                if ask == "terminate" and process.name() == "postgres":
                    process.send_signal(2)
                else:
                    getattr(process, ask)()
        psutil.wait_procs(orphans, timeout=10)
    return count


def processes(state: Path) -> list[psutil.Process]:
    """All processes of the stack whose state folder this is, whoever their parent is now.

    They are known by the mark in their environment. PostgreSQL and Valkey overwrite theirs, and
    are known by their names and working directories.
    """
    import psutil

    found = []
    us = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    servers = {"postgres": state / "postgres", "valkey-server": state / "redis"}
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid not in us and (
                process.environ().get(MARK) == str(state)
                or (process.name() in servers and Path(process.cwd()) == servers[process.name()])
            ):
                found.append(process)
    return found
