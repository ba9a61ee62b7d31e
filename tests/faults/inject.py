"""Harming one service of a running stack, and healing it again."""

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


class Answer(NamedTuple):
    """What a probe got, and how long that took in seconds."""

    status: int
    body: dict[str, Any]
    seconds: float


class Prober:
    """Asks the backend at the address that it had in the beginning."""

    def __init__(self, stack: Stack) -> None:
        self.address = urlsplit(stack.url()).netloc

    def ask(self, path: str = "/health") -> Answer:
        begin = time.monotonic()
        connection = http.client.HTTPConnection(self.address, timeout=30)
        with contextlib.closing(connection):
            connection.request("GET", path)
            response = connection.getresponse()
            text = response.read()
        seconds = time.monotonic() - begin
        body = json.loads(text) if text.startswith(b"{") else {}
        return Answer(response.status, body, seconds)

    def text(self, path: str) -> str:
        """Everything that is answered, headers and all."""
        connection = http.client.HTTPConnection(self.address, timeout=30)
        with contextlib.closing(connection):
            connection.request("GET", path)
            response = connection.getresponse()
            return f"{response.headers}{response.read().decode('utf-8', 'replace')}"

    def says(self, status: int, path: str = "/health") -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.ask(path).status == status
        return False


@contextlib.contextmanager
def frozen(stack: Stack, service: str) -> Iterator[None]:
    """Every process of a service stopped with SIGSTOP."""
    pids = stack.pids(service)

    def tell(how: signal.Signals) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):  # a health check that has ended
                stack.signal(pid, how)

    tell(signal.SIGSTOP)
    try:
        yield
    finally:
        tell(signal.SIGCONT)


@contextlib.contextmanager
def locked(stack: Stack, *tables: str) -> Iterator[None]:
    """Tables held under ACCESS EXCLUSIVE by a session of PostgreSQL's own client."""
    script = (
        'export PGUSER="${PGUSER:-$POSTGRES_USER}" PGDATABASE="${PGDATABASE:-$POSTGRES_DB}"\n'
        'exec psql -At --command="BEGIN; LOCK TABLE $0 IN ACCESS EXCLUSIVE MODE"'
        ' --command="SELECT 1" --file=-'
    )
    words = stack.exec_command("postgres", "sh", "-c", script, ", ".join(tables))
    holder = subprocess.Popen(
        words,
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
        holder.stdin.close()  # psql ends, and its session with it
        holder.wait(30)
