"""Support for several Uvicorn workers under one supervisor."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from multiprocessing.process import BaseProcess


def is_worker() -> bool:
    """Return True if a supervisor started this process, so that there may be other workers.

    A single application runs in the process of the entrypoint instead.
    """
    return os.environ.get("ENTRYPOINT_PID") not in (None, str(os.getpid()))


def exit_with_supervisor() -> None:
    """Kill this worker when Uvicorn's supervisor exits; does nothing in a single application.

    Workers would survive a supervisor that is killed and keep PORT in use.
    """
    supervisor = multiprocessing.parent_process()
    if supervisor is not None:
        threading.Thread(target=_kill_after, args=[supervisor], daemon=True).start()


def _kill_after(supervisor: BaseProcess) -> None:
    supervisor.join()
    os.kill(os.getpid(), signal.SIGKILL)
