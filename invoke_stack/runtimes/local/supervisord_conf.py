"""The configuration file of supervisord."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from invoke_stack.runtimes.local.stack import Program
from invoke_stack.runtimes.local.supervise import COLLECTOR, socket_path

_COMMON = (
    "autostart=false",
    "autorestart=true",
    "startsecs=1",
    "startretries=1000000",  # as `restart: unless-stopped`; each wait is a second longer
    "killasgroup=true",
    "stdout_logfile=NONE",
    "stderr_logfile=NONE",
)


def configuration(run: Path, programs: Iterable[Program]) -> str:
    """Return the text of the configuration file.

    Every path is relative to `run`, the working directory, so that no character of a checkout's
    path needs escaping. The digest of its script in each command makes supervisord notice a changed
    script.
    """
    parts = [
        "; Written by `inv up`.",
        "[supervisord]",
        "nodaemon=true",
        "silent=true",
        "logfile=supervisord.log",
        "logfile_maxbytes=5MB",
        "logfile_backups=1",
        "pidfile=supervisord.pid",
        *(["user=root"] if os.geteuid() == 0 else []),
        "[unix_http_server]",
        f"file={_escape(socket_path(run))}",
        "chmod=0700",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface",
        f"[program:{COLLECTOR}]",
        f"command=/bin/sh {COLLECTOR}.sh",
        "priority=1",
        *_COMMON,
    ]
    for program in programs:
        script = (run / f"{program.name}.sh").read_bytes()
        parts += [
            f"[program:{program.name}]",
            f"command=/bin/sh {program.name}.sh {hashlib.sha256(script).hexdigest()[:12]}",
            f"priority={program.priority}",
            f"stopsignal={program.stop_signal}",
            f"stopwaitsecs={program.grace}",
            *_COMMON,
        ]
    return "\n".join(parts) + "\n"


def _escape(path: Path) -> str:
    return str(path).replace("%", "%%")
