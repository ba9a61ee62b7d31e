"""The local stack: its ports and secrets, and the command of each service."""

from __future__ import annotations

import json
import random
import secrets
import shlex
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from invoke_stack.errors import BadInput
from invoke_stack.runtimes.local import embedded
from invoke_stack.runtimes.machine import is_port_free

LISTENING = ("postgres", "redis", "backend", "frontend")  # the services with a port
DATABASE_USER, DATABASE = "scout", "deal_scout"

# Below the ranges for outgoing connections on Linux (32768…) and macOS (49152…), so that no
# connection takes a saved port while the stack is down.
_PORTS = range(20_000, 30_000)

# Not the caller's, which differs between shells: a changed variable restarts a service.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/homebrew/bin"


@dataclass(frozen=True)
class StackState:
    """The ports and passwords that the first `up` chose, kept for later ones."""

    ports: Mapping[str, int]
    postgres_password: str
    redis_password: str

    def save(self, path: Path) -> None:
        """Write the file atomically, readable by its owner only."""
        new = path.with_name(path.name + ".new")
        new.touch(mode=0o600)
        new.write_text(json.dumps(vars(self), indent=2) + "\n")
        new.replace(path)


def load(path: Path) -> StackState | None:
    """Return the saved state; None before the first `up`. Raises `BadInput` if it is damaged."""
    try:
        return StackState(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        raise BadInput(
            f"{path} is damaged; it holds the passwords of the database and Redis",
            f"create new passwords (data is kept): inv down, rm {path}, inv up",
        ) from None


def create() -> StackState:
    """Return a state with free ports and new passwords."""
    return StackState(free_ports(()), secrets.token_urlsafe(24), secrets.token_urlsafe(24))


def free_ports(excluded: Iterable[int]) -> dict[str, int]:
    """Return a free port on 127.0.0.1, not in `excluded`, for each service that has a port."""
    unusable, ports = set(excluded), {}
    candidates = random.SystemRandom().sample(_PORTS, len(_PORTS))
    for service in LISTENING:
        ports[service] = next(p for p in candidates if p not in unusable and is_port_free(p))
        unusable.add(ports[service])
    return ports


@dataclass(frozen=True)
class Program:
    """One supervised process."""

    name: str
    priority: int  # lower starts earlier and stops later
    command: tuple[str, ...]
    folder: Path  # the working directory
    variables: Mapping[str, str]
    stop_signal: str = "TERM"
    grace: int = 10  # seconds from the stop signal to SIGKILL


def programs(
    root: Path, state: Path, stack: StackState, user_variables: Mapping[str, str]
) -> list[Program]:
    """Return the services in the order they start.

    `user_variables` are the stack's variables from `.env` and the environment.
    """
    python = sys.executable
    own_variables = {
        "DB_HOST": "127.0.0.1",
        "DB_PORT": str(stack.ports["postgres"]),
        "POSTGRES_USER": DATABASE_USER,
        "POSTGRES_PASSWORD": stack.postgres_password,
        "POSTGRES_DB": DATABASE,
        "REDIS_HOST": "127.0.0.1",
        "REDIS_PORT": str(stack.ports["redis"]),
        "REDIS_PASSWORD": stack.redis_password,
        "HOST": "127.0.0.1",
        "PORT": str(stack.ports["backend"]),
        "RUN_DIR": str(state / "run"),
        "STATE_DIR": str(state / "run"),
        "PYTHONPATH": str(root / "backend"),
        "PYTHONUNBUFFERED": "1",
        "PATH": f"{Path(python).parent}:{_PATH}",
    }
    # No user variable may point the stack to another database, broker or port.
    variables = {
        name: value for name, value in user_variables.items() if not _is_reserved(name)
    } | own_variables
    celery = (python, "-m", "celery", "-A", "app.worker")
    return [
        Program(
            "postgres",
            10,
            (
                *embedded.unprivileged_prefix(),
                *(str(embedded.postgres_binary("postgres")), "-D", str(state / "postgres")),
                *("-p", str(stack.ports["postgres"])),
                *("-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="),
            ),
            state / "postgres",
            # For PostgreSQL's client programs: `sh .local/run/postgres.sh run psql`.
            {
                "PATH": f"{embedded.postgres_binary('psql').parent}:{_PATH}",
                "PGHOST": "127.0.0.1",
                "PGPORT": str(stack.ports["postgres"]),
                "PGUSER": DATABASE_USER,
                "PGPASSWORD": stack.postgres_password,
                "PGDATABASE": DATABASE,
            },
            stop_signal="INT",  # fast shutdown: ends sessions, keeps every commit
            grace=60,
        ),
        Program(
            "redis",
            10,
            (str(embedded.valkey_server()), str(state / "redis" / "valkey.conf")),
            state / "redis",
            {},
            grace=30,
        ),
        Program("backend", 20, ("/bin/sh", "backend/entrypoint.sh"), root, variables, grace=15),
        Program(
            "worker",
            30,
            (
                *(*celery, "worker", "--loglevel", "INFO", "--concurrency", "2"),
                *("--hostname", "worker", "--without-gossip", "--without-mingle"),
            ),
            root,
            variables,
            grace=70,  # a task may take 60 s
        ),
        Program("beat", 30, (*celery, "beat", "--loglevel", "INFO"), root, variables),
        Program(
            "frontend",
            40,
            (
                *(python, "-m", "uvicorn", "serve:app", "--app-dir", "frontend"),
                *("--host", "127.0.0.1", "--port", str(stack.ports["frontend"])),
                *("--no-server-header", "--no-access-log", "--timeout-graceful-shutdown", "5"),
            ),
            root,
            {
                "BACKEND_URL": f"http://127.0.0.1:{stack.ports['backend']}",
                "PATH": own_variables["PATH"],
                "PYTHONUNBUFFERED": "1",
            },
        ),
    ]


def _is_reserved(name: str) -> bool:
    is_connection = name.startswith(("DB_", "POSTGRES_", "REDIS_")) and name != "DB_WAIT_TIMEOUT"
    return is_connection or name in ("DATABASE_URL", "HOST", "PORT", "RUN_DIR", "STATE_DIR")


def redis_configuration(folder: Path, stack: StackState) -> str:
    """Return Valkey's configuration file: every write is on disk before it is acknowledged."""
    return "\n".join(
        (
            "bind 127.0.0.1",
            f"port {stack.ports['redis']}",
            f"requirepass {stack.redis_password}",
            f'dir "{folder}"',
            "appendonly yes",
            "appendfsync always",
            'save ""',
            "",
        )
    )


def script(program: Program, pipes: Path) -> str:
    """Return a shell script that executes the program with its environment and its pipes.

    The pipes are opened for reading too (`<>`), so that writing works without another reader.
    """
    lines = [
        "#!/bin/sh",
        "# Written by `inv up`. It holds secrets, and is for its owner only.",
        *(f"export {name}={shlex.quote(value)}" for name, value in program.variables.items()),
        f"cd {shlex.quote(str(program.folder))} || exit 1",
        'if [ "${1:-}" = run ]; then shift; exec "$@"; fi',
        f": > {shlex.quote(str(pipes.parent / (program.name + '.started')))}",
        f"exec {shlex.join(program.command)} \\",
        f"  1<>{shlex.quote(str(pipes / (program.name + '.stdout')))} \\",
        f"  2<>{shlex.quote(str(pipes / (program.name + '.stderr')))}",
        "",
    ]
    return "\n".join(lines)
