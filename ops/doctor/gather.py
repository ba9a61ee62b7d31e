"""Gathers the facts side by side, each in a thread of its own, so that none holds up the others."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

from ops import health, logs, runtimes
from ops.config import Config, read_env_file
from ops.doctor import commands
from ops.doctor.facts import NO_DOCKER, Facts, NotKnown, Script, Settings, Unknown
from ops.errors import BadInput, OpsError
from ops.model import Health, Replica, Schema
from ops.runtime import Runtime
from ops.runtimes import compose as composed
from ops.runtimes import engine, machine
from ops.up import is_ready

T = TypeVar("T")

LIMIT = 10.0  # seconds for everything
PROBE = 3.0  # seconds for one answer of a service
TAIL = 300  # lines of a service in trouble

Waiting = Callable[[Sequence[str], float], None]
"""Shows what is still being waited for, and since how many seconds."""


class _Fact(Generic[T]):
    """A piece that a thread of its own gathers; others may wait for it."""

    def __init__(self, name: str, deadline: float, gather: Callable[[], T]) -> None:
        self.name = name
        self.deadline = deadline
        self.future: Future[T | Unknown] = Future()
        # A daemon: one that hangs must not keep the command from ending.
        threading.Thread(target=self._run, args=(gather,), daemon=True).start()

    def _run(self, gather: Callable[[], T]) -> None:
        try:
            self.future.set_result(gather())
        except OpsError as error:
            self.future.set_result(Unknown(error.message, error.hint))
        except NotKnown as error:
            self.future.set_result(Unknown(str(error)))
        except Exception as error:
            # A sick machine answers in ways that nobody foresaw; the other checks go on.
            self.future.set_result(Unknown(f"unexpected: {type(error).__name__}: {error}"))

    def value(self) -> T | Unknown:
        try:
            return self.future.result(max(0.0, self.deadline - time.monotonic()))
        except TimeoutError:
            return Unknown(f"no answer from {self.name}", late=True)

    def known(self) -> T:
        """The value; raises `NotKnown` with the reason why there is none."""
        value = self.value()
        if isinstance(value, Unknown):
            raise NotKnown(value.why)
        return value


def gather(
    config: Config,
    refused: Sequence[BadInput],
    environ: Mapping[str, str],
    waiting: Waiting,
) -> Facts:
    """Everything that the checks look at, within `LIMIT` seconds. It changes nothing.

    `refused` is what was wrong with the stack's variables when the Config was made.
    """
    engine.load()
    begin = time.monotonic()

    def fact(name: str, gatherer: Callable[[], T]) -> _Fact[T]:
        return _Fact(name, begin + LIMIT, gatherer)

    own = config.is_deal_scout
    place = fact("the runtime", lambda: runtimes.to_examine(config))
    context = fact("Docker's context", lambda: _context(environ))
    docker = fact("the runtime", lambda: _is_wanted(place.known(), config, environ))
    client = fact("Docker Engine", lambda: _connect(docker.known(), environ))
    replicas = fact("the services", lambda: place.known().replicas())
    looks = fact("its health", lambda: _looks(place.known(), config, replicas.known()))
    ports = fact("the Compose file", lambda: place.known().ports())
    gathered: dict[str, _Fact[Any]] = {
        "context": context,
        "engine": fact("Docker Engine", lambda: engine.describe(client.known())),
        "compose": fact("Docker Compose", machine.compose_version),
        "ports": ports,
        "holders": fact("who has the ports", lambda: _holders(ports.known(), client, replicas)),
        "replicas": replicas,
        "looks": looks,
        "schema": fact("the schema", lambda: _schema(place.known(), config, replicas.known())),
        "said": fact("the logs", lambda: _said(place.known(), config, replicas.known(), looks)),
        "stale": fact("the configuration", lambda: place.known().staleness(config.service)),
        "commands": fact("the processes", lambda: _commands(place.known(), replicas.known())),
        "missing": fact("the programs", lambda: _missing(place.known(), config)),
        "disks": fact("the disks", lambda: _disks(place, config, client, replicas)),
        "script": fact("the entrypoint", lambda: _script(config.root / "backend/entrypoint.sh")),
        "revisions": fact("the migrations", lambda: _revisions(config.root, own)),
    }
    late = _wait([*gathered.values(), place, docker, client], begin, waiting)
    chosen = place.value()
    runtime = config.runtime if isinstance(chosen, Unknown) else chosen.name
    found = {name: each.value() for name, each in gathered.items()}
    if isinstance(chosen, Unknown):
        found["replicas"] = chosen
    assert set(found) < {field.name for field in fields(Facts)}
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


def _wait(gathered: Sequence[_Fact[Any]], begin: float, waiting: Waiting) -> list[str]:
    """Wait for everything; the names of what did not come in time."""
    while True:
        late = list(dict.fromkeys(each.name for each in gathered if not each.future.done()))
        seconds = time.monotonic() - begin
        if not late or seconds > LIMIT:
            return late
        waiting(late, seconds)
        wait([each.future for each in gathered], timeout=0.2)


def _is_wanted(place: Runtime, config: Config, environ: Mapping[str, str]) -> bool:
    """Whether Docker matters: the stack is there, or would be if it answered."""
    if place.name != "local":
        return True
    named = environ.get("DOCKER_HOST") or environ.get("DOCKER_CONTEXT") or machine.has_docker()
    return bool(named) and config.runtime == "auto" and not place.is_up()


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
    if not config.health:
        return [health.by_probe(each) for each in running]
    return [health.check(runtime, each, PROBE, config.health) for each in running]


def _schema(runtime: Runtime, config: Config, replicas: Sequence[Replica]) -> Schema:
    for each in replicas:
        if each.service == config.service and each.running and config.is_deal_scout:
            return health.schema(runtime, each, PROBE)
    raise NotKnown(f"{config.service} does not run")


def _said(
    runtime: Runtime, config: Config, replicas: Sequence[Replica], looks: _Fact[list[Health]]
) -> dict[str, list[str]]:
    sick = {each.service for each in replicas if not is_ready(each) or each.restarts}
    seen = looks.value()
    if isinstance(seen, Unknown) or any(look.state != "healthy" for look in seen):
        sick.add(config.service)
    return {service: list(_tail(runtime, service)) for service in sorted(sick)}


def _tail(runtime: Runtime, service: str) -> Iterator[str]:
    with suppress(OpsError):
        lines = runtime.logs([service], tail=TAIL, since=None, follow=False, say=lambda _: None)
        yield from (line.text for line in logs.select(lines, None) if line)


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
    except OpsError:
        return False
    return True


def _holders(
    wanted: Mapping[str, Sequence[int]],
    client: _Fact[engine.Client],
    replicas: _Fact[list[Replica]],
) -> dict[int, str]:
    """Who has a port of a service that does not run."""
    if not wanted:
        return {}
    if not engine.describe(client.known()).is_here:
        raise NotKnown("the engine is on another machine")
    there = replicas.value()
    running = () if isinstance(there, Unknown) else {r.service for r in there if r.running}
    ports = [p for service, listed in wanted.items() if service not in running for p in listed]
    return {port: _holder(client.known(), port) for port in ports if not machine.is_free(port)}


def _holder(client: engine.Client, port: int) -> str:
    container = engine.publisher(client, port)
    return f"the container {container}" if container else machine.listener(port)


def _disks(
    place: _Fact[Runtime],
    config: Config,
    client: _Fact[engine.Client],
    replicas: _Fact[list[Replica]],
) -> list[machine.Disk]:
    found = [machine.disk(config.root)]
    if place.known().name == "local":
        return found
    with suppress(NotKnown):
        about = engine.describe(client.known())
        if about.is_here and Path(about.folder).exists():
            return [*found, machine.disk(Path(about.folder))]
        for each in replicas.known():
            with suppress(OpsError, ValueError, IndexError):
                said = place.known().execute(each.service, ("df", "-Pk", "/"), PROBE)
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
        for file in composed.compose_files(config.root, environ):
            required += re.findall(r"(?<!\$)\$\{(\w+):?\?", file.read_text("utf-8", "replace"))
    names = read_env_file(config.root / ".env.example", refuse=lambda _: None)
    ours = read_env_file(config.root / ".env", environ, lambda _: None)
    return Settings(
        variables=config.variables,
        refused=tuple(refused),
        file_exists=(config.root / ".env").exists(),
        lacking=tuple(
            name
            for name in dict.fromkeys(required)
            if not (config.variables.get(name) or environ.get(name))
        ),
        unused=tuple(name for name in ours if names and name not in names),
        names=tuple(names),
    )
