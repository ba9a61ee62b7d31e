"""PostgreSQL and Valkey servers for tests, each with its own folder and port."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from invoke_stack.runtimes.local import embedded

PASSWORD = "p@ss/w:rd%#? é"  # characters that must be quoted in a URL


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that is free now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_until(what: str, check: Callable[[], object], seconds: float = 30.0) -> float:
    """Poll until `check()` is true and return how long that took; fail with `what` on timeout."""
    started_at = checked_at = time.monotonic()
    while not check():
        if time.monotonic() - started_at > seconds:
            raise AssertionError(f"not within {seconds:.0f} s: {what}")
        # A check that runs `inv` takes half a second of processor time, which other tests need.
        time.sleep(max(0.02, (time.monotonic() - checked_at) / 2))
        checked_at = time.monotonic()
    return time.monotonic() - started_at


def is_listening(port: int) -> bool:
    """Return True if a port of 127.0.0.1 accepts connections."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@dataclass
class Server:
    """A server process that a test may stop, freeze, thaw, kill and restart."""

    command: list[str]
    folder: Path
    port: int
    ready: Callable[[], bool]
    process: subprocess.Popen[bytes] | None = None

    def start(self, wait: bool = True) -> None:
        """Start the server and, by default, wait until it is ready."""
        log = (self.folder / "server.log").open("ab")
        self.process = subprocess.Popen(
            self.command, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
        )
        log.close()
        if wait:
            wait_until(f"{self.command[-1]} answers", self.ready)

    def processes(self) -> list[psutil.Process]:
        """Return the processes of the server, the main one first; empty if it is stopped."""
        if self.process is None:
            return []
        try:
            root = psutil.Process(self.process.pid)
            return [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def freeze(self) -> None:
        """Send SIGSTOP to every process of the server."""
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()

    def thaw(self) -> None:
        """Send SIGCONT to every process of the server."""
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()

    def stop(self, sig: signal.Signals = signal.SIGINT) -> None:
        """Send a signal to the main process and wait for all processes; SIGKILL after 20 s."""
        if self.process is None:
            return
        self.thaw()
        processes = self.processes()
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(sig)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        psutil.wait_procs(processes, 10)
        self.process = None

    def kill(self) -> None:
        """Send SIGKILL to the main process, to simulate a crash."""
        self.stop(signal.SIGKILL)


@dataclass
class Postgres(Server):
    """A PostgreSQL server."""

    user: str = "scout"
    password: str = PASSWORD

    def connect(self, dbname: str = "postgres", **options: object) -> Any:
        """Connect to a database, in autocommit."""
        import psycopg2

        connection = psycopg2.connect(
            host="127.0.0.1",
            port=self.port,
            user=self.user,
            password=self.password,
            dbname=dbname,
            connect_timeout=2,
            **options,
        )
        connection.autocommit = True
        return connection

    def environment(self, dbname: str) -> dict[str, str]:
        """Return the variables that point the backend at a database of this server."""
        return {
            "DB_HOST": "127.0.0.1",
            "DB_PORT": str(self.port),
            "POSTGRES_USER": self.user,
            "POSTGRES_PASSWORD": self.password,
            "POSTGRES_DB": dbname,
        }


@dataclass
class Redis(Server):
    """A Valkey server."""

    password: str = PASSWORD

    def client(self) -> Any:
        """Return a client of this server."""
        import redis

        return redis.Redis(
            host="127.0.0.1", port=self.port, password=self.password, socket_timeout=5
        )

    def environment(self) -> dict[str, str]:
        """Return the variables that point the backend at this server."""
        return {
            "REDIS_HOST": "127.0.0.1",
            "REDIS_PORT": str(self.port),
            "REDIS_PASSWORD": self.password,
        }


def make_postgres(folder: Path) -> Postgres:
    """Create a PostgreSQL cluster in `folder`; it is not started."""
    folder.mkdir(parents=True, exist_ok=True)
    embedded.create_cluster(folder / "data", user="scout", password=PASSWORD)
    port = free_port()
    command = [
        *embedded.unprivileged_prefix(),
        *(str(embedded.postgres_binary("postgres")), "-D", str(folder / "data"), "-p", str(port)),
        *("-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="),
    ]

    def ready() -> bool:
        import psycopg2

        with contextlib.suppress(psycopg2.OperationalError):
            server.connect().close()
            return True
        return False

    server = Postgres(command, folder, port, ready)
    return server


def make_redis(folder: Path) -> Redis:
    """Create a Valkey server in `folder`; it is not started."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    config = folder / "valkey.conf"
    config.write_text(
        f'port {port}\nbind 127.0.0.1\nrequirepass "{PASSWORD}"\nappendonly yes\n'
        f'enable-debug-command local\ndir "{folder}"\n',
        encoding="utf-8",
    )

    def ready() -> bool:
        import redis

        with contextlib.suppress(redis.RedisError):
            return bool(server.client().ping())
        return False

    server = Redis([str(embedded.valkey_server()), str(config)], folder, port, ready)
    return server


@contextlib.contextmanager
def running(server: Server) -> Iterator[Server]:
    """Start a server, and stop it on exit."""
    server.start()
    try:
        yield server
    finally:
        server.stop()


def clean_environment(**extra: str) -> dict[str, str]:
    """Return this process's environment without variables that configure a stack, plus `extra`."""
    prefixes = ("DB_", "POSTGRES_", "REDIS_", "INVOKE_", "COMPOSE_", "PG")
    names = {"DATABASE_URL", "PORT", "HOST", "ALEMBIC_CMD", "UVICORN_CMD", "RUN_DIR", "STATE_DIR"}
    names |= {"WEB_CONCURRENCY"}  # hosting platforms set it
    names |= {"COLUMNS", "LINES"}  # pytest-xdist sets them; a terminal reports its own size
    names |= {"PYTHONDONTWRITEBYTECODE"}  # or every `inv` would compile all modules
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(prefixes) and name not in names
    }
    return inherited | extra
