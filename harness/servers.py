"""Real PostgreSQL and Valkey for tests, each in a folder and on a port of its own."""

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

import psutil

from invoke_stack.runtimes.local import embedded

PASSWORD = "p@ss/w:rd%#? é"  # every character that breaks a URL that was glued together


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_until(what: str, check: Callable[[], object], seconds: float = 30.0) -> float:
    """Poll until `check()` is true, and return how long that took; fail with `what` after `seconds`."""
    begin = looked = time.monotonic()
    while not check():
        if time.monotonic() - begin > seconds:
            raise AssertionError(f"not within {seconds:.0f} s: {what}")
        # A check that runs a verb takes half a second of processor time, which others need.
        time.sleep(max(0.02, (time.monotonic() - looked) / 2))
        looked = time.monotonic()
    return time.monotonic() - begin


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@dataclass
class Server:
    """One server process that a test may stop, freeze, thaw, kill and start again."""

    command: list[str]
    folder: Path
    port: int
    ready: Callable[[], bool]
    process: subprocess.Popen[bytes] | None = None

    def start(self, wait: bool = True) -> None:
        log = (self.folder / "server.log").open("ab")
        self.process = subprocess.Popen(
            self.command, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
        )
        log.close()
        if wait:
            wait_until(f"{self.command[-1]} answers", self.ready)

    def processes(self) -> list[psutil.Process]:
        if self.process is None:
            return []
        try:
            root = psutil.Process(self.process.pid)
            return [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def freeze(self) -> None:
        """SIGSTOP every process of the server."""
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()

    def thaw(self) -> None:
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        if self.process is None:
            return
        self.thaw()
        family = self.processes()
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(how)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        psutil.wait_procs(family, 10)
        self.process = None

    def kill(self) -> None:
        """SIGKILL the main process, as a crash would."""
        self.stop(signal.SIGKILL)


@dataclass
class Postgres(Server):
    user: str = "scout"
    password: str = PASSWORD

    def connect(self, dbname: str = "postgres", **options: object):  # type: ignore[no-untyped-def]
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
        """The variables that point the backend at a database of this server."""
        return {
            "DB_HOST": "127.0.0.1",
            "DB_PORT": str(self.port),
            "POSTGRES_USER": self.user,
            "POSTGRES_PASSWORD": self.password,
            "POSTGRES_DB": dbname,
        }


@dataclass
class Redis(Server):
    password: str = PASSWORD

    def client(self):  # type: ignore[no-untyped-def]
        import redis

        return redis.Redis(
            host="127.0.0.1", port=self.port, password=self.password, socket_timeout=5
        )

    def environment(self) -> dict[str, str]:
        return {
            "REDIS_HOST": "127.0.0.1",
            "REDIS_PORT": str(self.port),
            "REDIS_PASSWORD": self.password,
        }


def make_postgres(folder: Path) -> Postgres:
    """A cluster in `folder`, not started yet."""
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
    """A Valkey server in `folder`, not started yet."""
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
    server.start()
    try:
        yield server
    finally:
        server.stop()


def clean_environment(**extra: str) -> dict[str, str]:
    """This process's environment without any variable that could point at somebody's stack."""
    ours = ("DB_", "POSTGRES_", "REDIS_", "INVOKE_", "COMPOSE_", "PG")
    named = {"DATABASE_URL", "PORT", "HOST", "ALEMBIC_CMD", "UVICORN_CMD", "RUN_DIR", "STATE_DIR"}
    named |= {"WEB_CONCURRENCY"}  # hosting platforms set it
    named |= {"COLUMNS", "LINES"}  # pytest-xdist sets them; a terminal tells its own size
    named |= {"PYTHONDONTWRITEBYTECODE"}  # every verb would compile all that it imports
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(ours) and name not in named
    }
    return kept | extra
