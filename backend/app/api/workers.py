"""What a process of the application needs that may be one of several workers of a supervisor."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from multiprocessing.process import BaseProcess


def is_worker() -> bool:
    """Return True in a process that a supervisor started, so that there may be others like it.

    A lone application is the process that was the entrypoint.
    """
    return os.environ.get("ENTRYPOINT_PID") not in (None, str(os.getpid()))


def end_with_supervisor() -> None:
    """Have this worker killed when Uvicorn's supervisor is gone; harmless in a lone application.

    A supervisor that is killed leaves its workers behind: they would serve for ever, and the next
    start would find PORT in use.
    """
    supervisor = multiprocessing.parent_process()
    if supervisor is not None:
        threading.Thread(target=_kill_after, args=[supervisor], daemon=True).start()


def _kill_after(supervisor: BaseProcess) -> None:
    supervisor.join()
    os.kill(os.getpid(), signal.SIGKILL)
