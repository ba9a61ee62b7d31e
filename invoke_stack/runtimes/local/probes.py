"""One readiness probe for each service of the local stack, all bounded in time."""

from __future__ import annotations

import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from invoke_stack.profile.readiness import Readiness
from invoke_stack.runtimes import http
from invoke_stack.runtimes.local import embedded
from invoke_stack.runtimes.local.stack import StackState

TIMEOUT = 1.5  # seconds
HEARTBEAT_AGE = 30.0  # seconds; worker and beat touch their heartbeat files every few seconds


def problem(service: str, stack: StackState, run: Path, ready: Readiness) -> str:
    """Return why a running service is not ready; empty if it is. `ready` is the backend's."""
    match service:
        case "postgres":
            return _postgres(stack.ports[service])
        case "redis":
            return _redis(stack.ports[service], stack.redis_password)
        case "backend":
            answer = http.fetch(f"http://127.0.0.1:{stack.ports[service]}{ready.url}", TIMEOUT)
            if answer.status is None:
                return answer.problem
            return ready.assess(answer).reason
        case "frontend":
            answer = http.fetch(f"http://127.0.0.1:{stack.ports[service]}/healthz", TIMEOUT)
            return "" if answer.status == 200 else answer.problem or f"HTTP {answer.status}"
        case _:
            return _heartbeat(run / f"{service}.heartbeat", run / f"{service}.started")


def _postgres(port: int) -> str:
    result = subprocess.run(
        [
            embedded.postgres_binary("pg_isready"),
            *("--host", "127.0.0.1", "--port", str(port), "--timeout", "1"),
        ],
        capture_output=True,
        text=True,
    )
    return "" if result.returncode == 0 else result.stdout.strip().rpartition(" - ")[2]


def _redis(port: int, password: str) -> str:
    try:
        with socket.create_connection(("127.0.0.1", port), TIMEOUT) as sock:
            sock.settimeout(TIMEOUT)
            sock.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            response = b""
            while response.count(b"\n") < 2 and (data := sock.recv(1024)):
                response += data
    except OSError as error:
        return error.strerror or str(error)
    if b"+PONG" in response:
        return ""
    last_line = response.decode("ascii", "replace").splitlines()[-1:]
    return last_line[0] if last_line else "the connection was closed without an answer"


def _heartbeat(heartbeat: Path, started: Path) -> str:
    with suppress(FileNotFoundError):
        last = heartbeat.stat().st_mtime
        age = time.time() - last
        if last >= started.stat().st_mtime:
            return "" if age < HEARTBEAT_AGE else f"silent for {age:.0f} s"
    return "no heartbeat yet"
