"""Inject faults into a service of a running stack, and query its backend meanwhile."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from harness.stacks import Stack


class Response(NamedTuple):
    """A response of the backend, and how many seconds it took."""

    status: int
    body: dict[str, Any]
    seconds: float


class Prober:
    """Queries the backend of a stack; the address is looked up once, on creation."""

    def __init__(self, stack: Stack) -> None:
        self.address = urlsplit(stack.url()).netloc

    def get(self, path: str = "/health") -> Response:
        """Request a path."""
        started_at = time.monotonic()
        connection = http.client.HTTPConnection(self.address, timeout=30)
        with contextlib.closing(connection):
            connection.request("GET", path)
            response = connection.getresponse()
            text = response.read()
        seconds = time.monotonic() - started_at
        body = json.loads(text) if text.startswith(b"{") else {}
        return Response(response.status, body, seconds)

    def text(self, path: str) -> str:
        """Return headers and body of a response as text."""
        connection = http.client.HTTPConnection(self.address, timeout=30)
        with contextlib.closing(connection):
            connection.request("GET", path)
            response = connection.getresponse()
            return f"{response.headers}{response.read().decode('utf-8', 'replace')}"

    def has_status(self, status: int, path: str = "/health") -> bool:
        """Return True if a path responds with this status."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.get(path).status == status
        return False


@contextlib.contextmanager
def frozen(stack: Stack, service: str) -> Iterator[None]:
    """Stop every process of a service with SIGSTOP until the block ends."""
    pids = stack.pids(service)

    def send(sig: signal.Signals) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):  # a health check that has exited
                stack.signal(pid, sig)

    send(signal.SIGSTOP)
    try:
        yield
    finally:
        send(signal.SIGCONT)


@contextlib.contextmanager
def locked(stack: Stack, *tables: str) -> Iterator[None]:
    """Lock tables with ACCESS EXCLUSIVE, in a session of psql, until the block ends."""
    script = (
        'export PGUSER="${PGUSER:-$POSTGRES_USER}" PGDATABASE="${PGDATABASE:-$POSTGRES_DB}"\n'
        'exec psql -At --command="BEGIN; LOCK TABLE $0 IN ACCESS EXCLUSIVE MODE"'
        ' --command="SELECT 1" --file=-'
    )
    command = stack.exec_command("postgres", "sh", "-c", script, ", ".join(tables))
    holder = subprocess.Popen(
        command,
        cwd=stack.root,
        env=stack.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdin
    assert holder.stdout
    try:
        while holder.stdout.readline().strip() != "1":
            assert holder.poll() is None
        yield
    finally:
        holder.stdin.close()  # ends psql and its session
        holder.wait(30)
