"""Gathers the facts for `doctor` side by side, so that one that hangs does not hold up the rest."""

from __future__ import annotations

import functools
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from concurrent.futures import Future
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from invoke_stack import timestamps
from invoke_stack.commands import logs
from invoke_stack.commands.health import check_replica, schema_of
from invoke_stack.commands.up import is_ready
from invoke_stack.config import Config, read_env_file
from invoke_stack.errors import BadInput, StackError
from invoke_stack.judge import causes
from invoke_stack.judge.checks import diagnosis_of
from invoke_stack.judge.checks.environment import NO_DOCKER
from invoke_stack.model import Disk, Health, LogLine, Replica, Schema, State
from invoke_stack.profile import Diagnosis
from invoke_stack.profile.facts import Facts, NoAnswer, Skipped, StackVariables
from invoke_stack.runtimes import machine, select
from invoke_stack.runtimes.base import Runtime
from invoke_stack.runtimes.docker import engine
from invoke_stack.runtimes.docker.project import compose_files
from invoke_stack.runtimes.local.runtime import LocalRuntime

T = TypeVar("T")

Waiting = Callable[[Sequence[str], float], None]
"""Shows what is still being waited for, and since how many seconds."""

LIMIT = 10.0  # seconds for everything
PROBE = 3.0  # seconds for one answer of a service
TAIL = 1000  # lines of a service in trouble


class FactGatherer:
    """Facts that are being found out, each on a thread of its own."""

    def __init__(self) -> None:
        self._names: dict[Future[Any], str] = {}
        self._needed: dict[Future[Any], tuple[Future[Any], ...]] = {}

    def add(
        self,
        name: str,
        find: Callable[..., T],
        *inputs: Future[Any],
        after: Sequence[Future[Any]] = (),
    ) -> Future[T]:
        """Find out one fact from others: `find` gets their values as soon as all are known.

        An error of an input is the fact's own. What is in `after` is only waited for.
        """
        future: Future[T] = Future()
        self._names[future] = name
        self._needed[future] = (*inputs, *after)

        def work() -> None:
            futures.wait(self._needed[future])
            try:
                future.set_result(find(*(each.result() for each in inputs)))
            except StackError as error:
                future.set_exception(error)
            except Exception as error:
                # A machine in trouble answers in unforeseen ways; the other checks go on.
                what = f"unexpected: {type(error).__name__}: {error}"
                future.set_exception(StackError(what))

        # A daemon, so that one that hangs does not keep the command from ending.
        threading.Thread(target=work, daemon=True).start()
        return future

    def wait(self, limit: float, waiting: Waiting) -> list[str]:
        """Wait for everything; return the names of what is late, without what waits for that."""
        begin = time.monotonic()
        while True:
            pending = [each for each in self._names if not each.done()]
            late = [each for each in pending if all(need.done() for need in self._needed[each])]
            names = list(dict.fromkeys(self._names[each] for each in late))
            seconds = time.monotonic() - begin
            if not pending or seconds > limit:
                return names
            waiting(names, seconds)
            futures.wait(pending, timeout=0.2)

    def in_time(self, future: Future[T]) -> Future[T]:
        """Return the future if it is done, else one that failed with `NoAnswer`."""
        if future.done():
            return future
        late: Future[T] = Future()
        late.set_exception(NoAnswer(f"no answer from {self._names[future]}"))
        return late


def gather(
    config: Config,
    refused: Sequence[BadInput],
    environ: Mapping[str, str],
    waiting: Waiting,
    limit: float = LIMIT,
) -> Facts:
    """Find out everything that the checks decide on, within `limit` seconds. It changes nothing.

    `refused` is what was wrong with the stack's variables when the Config was made.
    """
    engine.load()
    gathering = FactGatherer()
    fact = gathering.add
    place = fact("the runtime", lambda: select.select_for_doctor(config))
    docker = fact("the runtime", lambda found: _needs_docker(found, config, environ), place)
    client = fact("Docker Engine", lambda needed: _connect(needed, environ), docker)
    runtime = fact("Docker Engine", lambda found: _reachable(found, client), place)
    replicas = fact("the services", lambda found: found.replicas(), runtime)
    looks = fact("its health", lambda *found: _looks(config, *found), runtime, replicas)
    ports = fact("the Compose file", lambda found: found.ports(), place)
    main, diagnosis = _Main(config, runtime, replicas), diagnosis_of(config.profile)
    here = [runtime, replicas]
    found: dict[str, Future[Any]] = {
        "context": fact("Docker's context", lambda: _context(environ)),
        "engine": fact("Docker Engine", engine.describe, client),
        "compose": fact("Docker Compose", machine.compose_version),
        "ports": ports,
        "holders": fact(
            *("who has the ports", lambda listed: _holders(listed, client, replicas), ports),
            after=[client, replicas],
        ),
        "will_write_env": fact("the volumes", lambda found: found.will_write_env(), runtime),
        "expected_services": fact(
            "the Compose file", lambda found: found.expected_services(), runtime
        ),
        "replicas": replicas,
        "healths": looks,
        "schema": fact("the schema", lambda _: _schema(config, main), replicas),
        "output": fact(
            "the logs",
            lambda *known: _output(config, diagnosis, main, looks, *known),
            *here,
            after=[looks],
        ),
        "stale": fact("the configuration", lambda found: found.staleness(config.service), runtime),
        "commands": fact("the processes", _commands, *here),
        "disk": fact("the disk", lambda: machine.disk(config.root)),
        "disks": fact("the disks", lambda *known: _disks(config, client, *known), *here),
    }
    more = {
        name: fact(each.title, functools.partial(each.find, main), after=each.asks_service * here)
        for name, each in diagnosis.facts.items()
    }
    late = gathering.wait(limit, waiting)
    place, docker = gathering.in_time(place), gathering.in_time(docker)
    if place.exception():
        found["replicas"] = place  # its error says what to do
    chosen = None if place.exception() else place.result()
    return Facts(
        runtime=chosen.name if chosen else config.runtime,
        in_containers=chosen.capabilities.containers if chosen else True,
        needs_docker=bool(docker.exception()) or docker.result(),
        service=config.service,
        profile=config.profile,
        diagnosis=diagnosis,
        now=datetime.now(UTC),
        timed_out=late,
        variables=_settings(config, refused, environ),
        **{name: gathering.in_time(each) for name, each in found.items()},
        extra={name: gathering.in_time(each) for name, each in more.items()},
    )


class _Main:
    """Implements `profile.MainService`. Waits for what it needs."""

    def __init__(
        self, config: Config, runtime: Future[Runtime], replicas: Future[list[Replica]]
    ) -> None:
        self.root, self.variables = config.root, config.variables
        self._service = config.service
        self._runtime, self._replicas = runtime, replicas

    def answers(self, path: str) -> list[Mapping[str, Any]]:
        replicas = self._replicas.result()
        running = [each for each in replicas if each.service == self._service and each.running]
        if not running:
            raise Skipped(f"{self._service} is not running")
        return [self._runtime.result().get(each, path, PROBE).body for each in running]

    def execute(self, *words: str) -> str:
        return self._runtime.result().execute(self._service, words, PROBE)

    def last_lines(self) -> Sequence[LogLine]:
        return logs.last(self._runtime.result(), self._service, TAIL)


def _needs_docker(place: Runtime, config: Config, environ: Mapping[str, str]) -> bool:
    """Return True if the stack is on Docker, or would be if Docker answered."""
    if not isinstance(place, LocalRuntime):
        return True
    named = environ.get("DOCKER_HOST") or environ.get("DOCKER_CONTEXT") or machine.has_docker()
    return bool(named) and config.runtime == "auto" and not place.has_been_up()


def _reachable(place: Runtime, client: Future[engine.Client]) -> Runtime:
    """Return the runtime once it is known that the engine answers, where it has one."""
    if place.capabilities.containers:
        client.result()
    return place


def _connect(needed: bool, environ: Mapping[str, str]) -> engine.Client:
    if not needed:
        raise Skipped(NO_DOCKER)
    return engine.connect(environ)


def _context(environ: Mapping[str, str]) -> str:
    if host := environ.get("DOCKER_HOST"):
        return host
    with engine.errors():
        engine.check_context(environ.get("DOCKER_CONTEXT", ""))
    return environ.get("DOCKER_CONTEXT", "") or "the current context"


def _looks(config: Config, runtime: Runtime, replicas: Sequence[Replica]) -> list[Health]:
    running = [each for each in replicas if each.service == config.service and each.running]
    return [check_replica(runtime, each, PROBE, config.readiness) for each in running]


def _schema(config: Config, main: _Main) -> Schema:
    if not config.profile.schema:
        raise Skipped("the project is not known to have one")
    return schema_of(main.answers(config.profile.schema.path)[0])


def _output(
    config: Config,
    diagnosis: Diagnosis,
    main: _Main,
    looks: Future[list[Health]],
    runtime: Runtime,
    replicas: Sequence[Replica],
) -> dict[str, list[str]]:
    """Return the last lines of each service in trouble since its start."""
    in_trouble = {each.service for each in replicas if not is_ready(each) or each.restarts}
    seen = [] if looks.exception() else looks.result()
    if looks.exception() or any(look.state is not State.HEALTHY for look in seen):
        in_trouble.add(config.service)
    output = {}
    for service in sorted(in_trouble):
        began = causes.relevant_since(
            [r for r in replicas if r.service == service], datetime.now(UTC)
        )
        lines = logs.last(runtime, service, TAIL, timestamps.log_time(began) if began else None)
        output[service] = [line.text for line in (lines if began else causes.last_minute(lines))]
    if config.service in output:
        output[config.service] += diagnosis.causes(main, seen)
    return output


def _commands(runtime: Runtime, replicas: Sequence[Replica]) -> dict[str, str]:
    running = [each for each in replicas if each.running]
    return {each.replica: runtime.main_command(each) for each in running}


def _holders(
    ports: Mapping[str, Sequence[int]],
    client: Future[engine.Client],
    replicas: Future[list[Replica]],
) -> dict[int, str]:
    """Return who uses a port of a service that does not run."""
    if not ports:
        return {}
    if not engine.describe(client.result()).is_here:
        raise Skipped("the engine is not known to publish its ports on this machine")
    running = () if replicas.exception() else {r.service for r in replicas.result() if r.running}
    wanted = [p for service, listed in ports.items() if service not in running for p in listed]
    return {port: _holder(client.result(), port) for port in wanted if not machine.is_free(port)}


def _holder(client: engine.Client, port: int) -> str:
    container = engine.publisher(client, port)
    return f"the container {container}" if container else machine.listener(port)


def _disks(
    config: Config,
    client: Future[engine.Client],
    runtime: Runtime,
    replicas: Sequence[Replica],
) -> list[Disk]:
    """Return the disks that the services are on, but for that of the checkout."""
    if not runtime.capabilities.containers:
        return []
    about = engine.describe(client.result())
    folder = Path(about.folder)
    if about.is_here and folder.exists():
        is_same = folder.stat().st_dev == config.root.stat().st_dev
        return [] if is_same else [machine.disk(folder)]
    for each in replicas:
        with suppress(StackError, ValueError, IndexError):
            output = runtime.execute(each.service, ("df", "-Pk", "/"), PROBE)
            return [machine.read_df(f"the disk of {each.node}", output)]
    return []


def _settings(
    config: Config, refused: Sequence[BadInput], environ: Mapping[str, str]
) -> StackVariables:
    required: list[str] = []
    with suppress(OSError):
        for file in compose_files(config.root, environ):
            required += re.findall(r"(?<!\$)\$\{(\w+):?\?", file.read_text("utf-8", "replace"))
    names = read_env_file(config.root / ".env.example", on_error=lambda _: None)
    ours = read_env_file(config.root / ".env", environ, lambda _: None)
    return StackVariables(
        values=config.variables,
        errors=tuple(refused),
        file_exists=(config.root / ".env").exists(),
        required=tuple(dict.fromkeys(required)),
        missing=tuple(
            name
            for name in dict.fromkeys(required)
            if not (config.variables.get(name) or environ.get(name))
        ),
        unknown=tuple(name for name in ours if names and name not in names),
        example_names=tuple(names),
    )
