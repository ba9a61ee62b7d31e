"""Gathers the facts side by side, each in a thread of its own, so that none holds up the others."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from invoke_stack.commands import health, logs
from invoke_stack.commands.pieces import Piece, Waiting, wait
from invoke_stack.commands.up import is_ready
from invoke_stack.config import Config, read_env_file
from invoke_stack.errors import BadInput, CommandFailed, OpsError
from invoke_stack.judge import causes
from invoke_stack.judge.checks import commands
from invoke_stack.judge.checks.facts import (
    NO_DOCKER,
    Facts,
    Failing,
    NotKnown,
    Script,
    Settings,
    Unknown,
)
from invoke_stack.model import Disk, Health, Replica, Schema, State
from invoke_stack.profile import readiness
from invoke_stack.runtimes import machine, select
from invoke_stack.runtimes.base import Runtime
from invoke_stack.runtimes.docker import engine
from invoke_stack.runtimes.docker.project import compose_files
from invoke_stack.runtimes.local.runtime import LocalRuntime

T = TypeVar("T")

LIMIT = 10.0  # seconds for everything
PROBE = 3.0  # seconds for one answer of a service
TAIL = 1000  # lines of a service in trouble


def gather(
    config: Config,
    refused: Sequence[BadInput],
    environ: Mapping[str, str],
    waiting: Waiting,
    limit: float = LIMIT,
) -> Facts:
    """Everything that the checks look at, within `limit` seconds. It changes nothing.

    `refused` is what was wrong with the stack's variables when the Config was made.
    """
    engine.load()
    begin = time.monotonic()

    def fact(name: str, gatherer: Callable[[], T]) -> Piece[T]:
        return Piece(name, begin + limit, gatherer)

    own = config.is_deal_scout
    place = fact("the runtime", lambda: select.to_examine(config))
    context = fact("Docker's context", lambda: _context(environ))
    docker = fact("the runtime", lambda: _is_wanted(place.known(), config, environ))
    client = fact("Docker Engine", lambda: _connect(docker.known(), environ))
    there = fact("Docker Engine", lambda: _reachable(place.known(), client))
    replicas = fact("the services", lambda: there.known().replicas())
    looks = fact("its health", lambda: _looks(there.known(), config, replicas.known()))
    ports = fact("the Compose file", lambda: place.known().ports())
    gathered: dict[str, Piece[Any]] = {
        "context": context,
        "engine": fact("Docker Engine", lambda: engine.describe(client.known())),
        "compose": fact("Docker Compose", machine.compose_version),
        "ports": ports,
        "holders": fact("who has the ports", lambda: _holders(ports.known(), client, replicas)),
        "writes_env": fact("the volumes", lambda: there.known().writes_env()),
        "wanted": fact("the Compose file", lambda: there.known().wanted()),
        "replicas": replicas,
        "looks": looks,
        "schema": fact("the schema", lambda: _schema(there.known(), config, replicas.known())),
        "failing": fact("the schema", lambda: _failing(there.known(), config, replicas.known())),
        "said": fact("the logs", lambda: _said(there.known(), config, replicas.known(), looks)),
        "stale": fact("the configuration", lambda: there.known().staleness(config.service)),
        "commands": fact("the processes", lambda: _commands(there.known(), replicas.known())),
        "missing": fact("the programs", lambda: _missing(there.known(), config)),
        "disks": fact("the disks", lambda: _disks(there, config, client, replicas)),
        "script": fact("the entrypoint", lambda: _script(config.root / "backend/entrypoint.sh")),
        "revisions": fact("the migrations", lambda: _revisions(config.root, own)),
    }
    late = wait([*gathered.values(), place, docker, client], begin, limit, waiting)
    chosen = place.value()
    runtime = config.runtime if isinstance(chosen, Unknown) else chosen.name
    found = {name: each.value() for name, each in gathered.items()}
    if isinstance(chosen, Unknown):
        found["replicas"] = chosen
    return Facts(
        runtime=runtime,
        service=config.service,
        own=own,
        now=datetime.now(UTC),
        late=late,
        docker=docker.value() is not False,
        settings=_settings(config, refused, environ),
        **found,
    )


def _is_wanted(place: Runtime, config: Config, environ: Mapping[str, str]) -> bool:
    """Whether Docker matters: the stack is there, or would be if it answered."""
    if not isinstance(place, LocalRuntime):
        return True
    named = environ.get("DOCKER_HOST") or environ.get("DOCKER_CONTEXT") or machine.has_docker()
    return bool(named) and config.runtime == "auto" and not place.has_been_up()


def _reachable(place: Runtime, client: Piece[engine.Client]) -> Runtime:
    """The runtime, once it is known that what it speaks to answers."""
    if place.name != "local":
        client.known()
    return place


def _connect(wanted: bool, environ: Mapping[str, str]) -> engine.Client:
    if not wanted:
        raise NotKnown(NO_DOCKER)
    return engine.connect(environ)


def _context(environ: Mapping[str, str]) -> str:
    if host := environ.get("DOCKER_HOST"):
        return host
    with engine.errors():
        engine.check_context(environ.get("DOCKER_CONTEXT", ""))
    return environ.get("DOCKER_CONTEXT", "") or "the current context"


def _looks(runtime: Runtime, config: Config, replicas: Sequence[Replica]) -> list[Health]:
    running = [each for each in replicas if each.service == config.service and each.running]
    if not config.ready:
        return [readiness.by_probe(each) for each in running]
    return [health.check(runtime, each, PROBE, config.ready) for each in running]


def _schema(runtime: Runtime, config: Config, replicas: Sequence[Replica]) -> Schema:
    for each in replicas:
        if each.service == config.service and each.running and config.is_deal_scout:
            return health.schema(runtime, each, PROBE)
    raise NotKnown(f"{config.service} does not run")


def _said(
    runtime: Runtime, config: Config, replicas: Sequence[Replica], looks: Piece[list[Health]]
) -> dict[str, list[str]]:
    sick = {each.service for each in replicas if not is_ready(each) or each.restarts}
    seen = looks.value()
    if isinstance(seen, Unknown) or any(look.state is not State.HEALTHY for look in seen):
        sick.add(config.service)
    said = {}
    for service in sorted(sick):
        began = causes.began([r for r in replicas if r.service == service], datetime.now(UTC))
        lines = logs.last(runtime, service, TAIL, causes.log_time(began) if began else None)
        said[service] = [line.text for line in (lines if began else causes.last_said(lines))]
    if not isinstance(seen, Unknown) and any(_migrations_failed(look) for look in seen):
        with suppress(OpsError):
            told = runtime.execute(config.service, ("sh", "-c", _REMEMBERED_CAUSE), PROBE)
            said[config.service].append(f"[entrypoint] Cause: {told.strip()}")
    return said


# The log tells a cause once, which may be a day ago; the entrypoint keeps it in a file.
_REMEMBERED_CAUSE = 'cat "${RUN_DIR:-/tmp}/migration-cause"'


def _migrations_failed(look: Health) -> bool:
    return look.body.get("migrations") == "failed"


def _failing(runtime: Runtime, config: Config, replicas: Sequence[Replica]) -> Failing | None:
    for each in replicas if config.is_deal_scout else ():
        if each.service == config.service and each.running:
            phases = runtime.get(each, "/overview", PROBE).body.get("phases")
            if any(p["name"] == "migrations" and p["outcome"] == "failed" for p in phases or ()):
                words = ("sh", "-c", f"{_LAST_STATE}; {_REMEMBERED_CAUSE}")
                state, _, cause = runtime.execute(config.service, words, PROBE).partition("\n")
                if state == "failed":
                    lines = logs.last(runtime, config.service, TAIL)
                    return Failing(cause.strip(), causes.next_attempt(lines, datetime.now(UTC)))
    return None


# The phase keeps its outcome; the state changes once the background has succeeded.
_LAST_STATE = 'sed -n s/^migrations=//p "${RUN_DIR:-/tmp}/boot" | tail -n 1'


def _commands(runtime: Runtime, replicas: Sequence[Replica]) -> dict[str, str]:
    running = [each for each in replicas if each.running]
    return {each.replica: runtime.main_command(each) for each in running}


def _missing(runtime: Runtime, config: Config) -> list[str]:
    """Those variables that hold a command whose program does not exist beside the service."""
    missing = []
    for name in commands.VARIABLES:
        program = commands.program(config.variables.get(name, ""))
        if program and not _exists(runtime, config.service, program):
            missing.append(name)
    return missing


def _exists(runtime: Runtime, service: str, program: str) -> bool:
    runtime.execute(service, ("true",), PROBE)  # raises, where nothing can be asked
    try:
        runtime.execute(service, ("sh", "-c", 'command -v -- "$0"', program), PROBE)
    except CommandFailed:
        return False
    return True


def _holders(
    wanted: Mapping[str, Sequence[int]],
    client: Piece[engine.Client],
    replicas: Piece[list[Replica]],
) -> dict[int, str]:
    """Who has a port of a service that does not run."""
    if not wanted:
        return {}
    if not engine.describe(client.known()).is_here:
        raise NotKnown("the engine is not known to publish its ports on this machine")
    there = replicas.value()
    running = () if isinstance(there, Unknown) else {r.service for r in there if r.running}
    ports = [p for service, listed in wanted.items() if service not in running for p in listed]
    return {port: _holder(client.known(), port) for port in ports if not machine.is_free(port)}


def _holder(client: engine.Client, port: int) -> str:
    container = engine.publisher(client, port)
    return f"the container {container}" if container else machine.listener(port)


def _disks(
    place: Piece[Runtime],
    config: Config,
    client: Piece[engine.Client],
    replicas: Piece[list[Replica]],
) -> list[Disk]:
    found = [machine.disk(config.root)]
    runtime = place.value()
    if isinstance(runtime, Unknown) or runtime.name == "local":
        return found
    about = engine.describe(client.known())
    folder = Path(about.folder)
    if about.is_here and folder.exists():
        same = folder.stat().st_dev == config.root.stat().st_dev
        return found if same else [*found, machine.disk(folder)]
    with suppress(NotKnown):
        for each in replicas.known():
            with suppress(OpsError, ValueError, IndexError):
                said = runtime.execute(each.service, ("df", "-Pk", "/"), PROBE)
                return [*found, machine.read_df(f"the disk of {each.node}", said)]
    return found


def _script(path: Path) -> Script:
    try:
        return Script(b"\r\n" in path.read_bytes(), os.name == "nt" or os.access(path, os.X_OK))
    except FileNotFoundError:
        raise NotKnown(f"{path} does not exist") from None


def _revisions(root: Path, own: bool) -> dict[str, str]:
    if not own:
        return {}
    folder = root / "alembic" / "versions"
    return {path.name: path.read_text("utf-8", "replace") for path in sorted(folder.glob("*.py"))}


def _settings(config: Config, refused: Sequence[BadInput], environ: Mapping[str, str]) -> Settings:
    required: list[str] = []
    with suppress(OSError):
        for file in compose_files(config.root, environ):
            required += re.findall(r"(?<!\$)\$\{(\w+):?\?", file.read_text("utf-8", "replace"))
    names = read_env_file(config.root / ".env.example", refuse=lambda _: None)
    ours = read_env_file(config.root / ".env", environ, lambda _: None)
    return Settings(
        variables=config.variables,
        refused=tuple(refused),
        file_exists=(config.root / ".env").exists(),
        required=tuple(dict.fromkeys(required)),
        lacking=tuple(
            name
            for name in dict.fromkeys(required)
            if not (config.variables.get(name) or environ.get(name))
        ),
        unused=tuple(name for name in ours if names and name not in names),
        names=tuple(names),
    )
