"""Validate the settings, listen on PORT, start the responder there, then execute COMMAND.

    python -m app.boot.startup -- COMMAND...

COMMAND replaces this process and inherits the listening socket as file descriptor 3.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import signal
import socket
import sys
import time
from pathlib import Path

from app import settings
from app.boot import command_line, progress
from app.settings import BadSetting, Settings

LISTENER_FD = 3  # as in systemd's socket activation
BACKLOG = 2048  # Uvicorn's default
RESPONDER_STOP_GRACE = 3.0  # seconds from SIGTERM to SIGKILL; in-flight requests take up to 2
POLL_INTERVAL = 0.001  # seconds; the responder exits within milliseconds, and every boot waits


def main(command: list[str]) -> int:
    """Execute `command`. Returns the exit code 2 if a setting is invalid."""
    # The first process of a container ignores every signal that it does not handle.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # A shell starts its background jobs with SIGINT ignored, and the entrypoint's shell cannot trap
    # a signal that was ignored when it started. On exec, a handler becomes the default action.
    signal.signal(signal.SIGINT, lambda *_: sys.exit(130))
    try:
        config = settings.load()
        _check_variables()
        listener = _listen(config)
    except BadSetting as error:
        print(f"[entrypoint] {error}", file=sys.stderr)
        return 2
    progress.start(config.run_dir)
    lock = _lock_for_responder(config.run_dir)
    entrypoint = os.getpid()
    responder = os.fork()
    if responder == 0:
        from app.boot.responder import serve  # slow to import, and only this process needs it

        serve(listener, config, entrypoint)
        os._exit(0)  # does not wait for a check that hangs
    if listener.fileno() != LISTENER_FD:
        os.dup2(listener.fileno(), LISTENER_FD)
    os.set_inheritable(LISTENER_FD, True)
    os.environ.update(
        ENTRYPOINT_PID=str(entrypoint),
        RESPONDER_PID=str(responder),
        RESPONDER_LOCK=lock,
        DB_HOST=config.db_host,
        DB_PORT=str(config.db_port),
        PORT=str(config.port),
    )
    return os.execvp(command[0], command)  # noqa: S606  no shell, on purpose


def stop_responder() -> None:
    """Stop the startup responder and wait until it has exited, for at most 4 s.

    Any process of the application may call this at any time, also without a responder.
    """
    with contextlib.suppress(KeyError, ProcessLookupError):
        responder = int(os.environ["RESPONDER_PID"])
        for stop_signal, seconds in ((signal.SIGTERM, RESPONDER_STOP_GRACE), (signal.SIGKILL, 1.0)):
            if not _is_running(responder):
                break
            os.kill(responder, stop_signal)
            deadline = time.monotonic() + seconds
            while _is_running(responder) and time.monotonic() < deadline:
                time.sleep(POLL_INTERVAL)


def _is_running(responder: int) -> bool:
    """Return True until the responder has exited. May raise `ProcessLookupError` if it has.

    Only its parent, the process that was the entrypoint, can wait for it. With several workers
    that is a supervisor, which never does: the responder stays a zombie, and after that its id may
    be reused. Neither a zombie nor another process holds the lock.
    """
    with contextlib.suppress(ChildProcessError):
        return os.waitpid(responder, os.WNOHANG) == (0, 0)
    try:
        with Path(os.environ.get("RESPONDER_LOCK", "")).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    except OSError:  # without a lock, a zombie counts as running, but an unrelated process does not
        return os.getpgid(responder) == os.getpgrp()


def _lock_for_responder(run_dir: Path) -> str:
    """Lock a new file until this process and its fork, the responder, have exited or called exec.

    Returns the path of the file, or an empty string if RUN_DIR is not writable.
    """
    file = run_dir.absolute() / "responder.lock"
    try:
        file.unlink(missing_ok=True)  # an orphaned responder may still hold the previous one
        fcntl.flock(os.open(file, os.O_CREAT | os.O_RDWR, 0o600), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # progress.start has logged the reason
        return ""
    return str(file)


def _check_variables() -> None:
    """Validate the variables that only the entrypoint reads. Raises `BadSetting`."""
    seconds = r"\d+(\.\d+)?"
    rules = {
        "DB_WAIT_TIMEOUT": (r"[1-9]\d*", "a whole number of seconds, such as 60"),
        "MIGRATE_TIMEOUT": (seconds, "a number of seconds, such as 600, or 0 for no limit"),
        "HEALTH_RESTART_AFTER": (seconds, "a number of seconds, such as 300, or 0 for never"),
        "LIVE_RESTART_AFTER": (seconds, "a number of seconds, such as 30, or 0 for never"),
        "MIGRATE_DELAYS": (rf"\s*{seconds}(\s+{seconds})*\s*", "seconds, such as 2 4 8 16 32 64"),
        "WEB_CONCURRENCY": (r"[1-9]\d*", "a whole number of workers, such as 2"),
    }
    for name, (pattern, form) in rules.items():
        value = os.environ[name]
        if not re.fullmatch(pattern, value, re.ASCII):
            raise BadSetting(f"invalid value {value!r} for {name}: use {form}")
    command_line.split("ALEMBIC_CMD")
    if not command_line.split("UVICORN_CMD"):
        raise BadSetting("UVICORN_CMD is blank: use a command, such as uvicorn app.main:app --fd 3")


def _listen(config: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        listener = socket.create_server((config.host, config.port), family=family, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:
        raise BadSetting(_bind_error(getattr(error, "errno", None), config)) from None
    # Accepted sockets inherit it. Uvicorn does not set it on an inherited file descriptor.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _bind_error(error: int | None, config: Settings) -> str:
    if error == errno.EADDRINUSE:
        other = 8000 if config.port != 8000 else 8001
        return (
            f"PORT {config.port} is in use: stop its process or set another port, such as {other}"
        )
    if error == errno.EACCES:
        return f"PORT {config.port}: permission denied; set a port above 1023, such as 8000"
    return (
        f"invalid value {config.host!r} for HOST: use an address of this machine, such as 0.0.0.0"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[sys.argv.index("--") + 1 :]))
