"""Gather the facts for `doctor` in parallel, so that one that hangs does not delay the others."""

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

ShowPending = Callable[[Sequence[str], float], None]
"""Shows the names of the pending facts, and how many seconds have passed."""

LIMIT = 10.0  # seconds for all facts together
PROBE_TIMEOUT = 3.0  # seconds for one response of a service
TAIL = 1000  # log lines that are read of an unhealthy or restarted service


class FactGatherer:
    """Gathers facts, each on its own thread."""

    def __init__(self) -> None:
        self._names: dict[Future[Any], str] = {}
        self._dependencies: dict[Future[Any], tuple[Future[Any], ...]] = {}

    def add(
        self,
        name: str,
        find: Callable[..., T],
        *inputs: Future[Any],
        after: Sequence[Future[Any]] = (),
    ) -> Future[T]:
        """Start to gather a fact: `find` is called with the values of `inputs` once all are done.

        The error of an input becomes the error of the fact. Futures in `after` are only waited for.
        """
        future: Future[T] = Future()
        self._names[future] = name
        self._dependencies[future] = (*inputs, *after)

        def work() -> None:
            futures.wait(self._dependencies[future])
            try:
                future.set_result(find(*(value.result() for value in inputs)))
            except StackError as error:
                future.set_exception(error)
            except Exception as error:
                # A broken machine fails in unexpected ways; the other checks continue.
                message = f"unexpected error: {type(error).__name__}: {error}"
                future.set_exception(StackError(message))

        # A daemon thread, so that a fact that hangs does not keep the process alive.
        threading.Thread(target=work, daemon=True).start()
        return future

    def wait(self, limit: float, show_pending: ShowPending) -> list[str]:
        """Wait at most `limit` seconds for all facts; return the names of those that are late.

        A fact that only waits for another late one is left out.
        """
        begin = time.monotonic()
        while True:
            pending = [future for future in self._names if not future.done()]
            late = [
                future
                for future in pending
                if all(dependency.done() for dependency in self._dependencies[future])
            ]
            names = list(dict.fromkeys(self._names[future] for future in late))
            seconds = time.monotonic() - begin
            if not pending or seconds > limit:
                return names
            show_pending(names, seconds)
            futures.wait(pending, timeout=0.2)

    def done_or_failed(self, future: Future[T]) -> Future[T]:
        """Return the future if it is done, else one that failed with `NoAnswer`."""
        if future.done():
            return future
        late: Future[T] = Future()
        late.set_exception(NoAnswer(f"timed out waiting for {self._names[future]}"))
        return late


def gather(
    config: Config,
    variable_errors: Sequence[BadInput],
    environ: Mapping[str, str],
    show_pending: ShowPending,
    limit: float = LIMIT,
) -> Facts:
    """Gather everything that the checks need, within `limit` seconds. Changes nothing.

    `variable_errors` are the problems with the stack's variables that loading `config` reported.
    """
    engine.load()
    gatherer = FactGatherer()
    fact = gatherer.add
    selected = fact("the runtime", lambda: select.select_for_doctor(config))
    needs_docker = fact(
        "the runtime", lambda runtime: _needs_docker(runtime, config, environ), selected
    )
    client = fact("Docker Engine", lambda needed: _connect(needed, environ), needs_docker)
    # The selected runtime, once its engine responds.
    runtime = fact("Docker Engine", lambda runtime: _reachable(runtime, client), selected)
    replicas = fact("the services", lambda runtime: runtime.replicas(), runtime)
    healths = fact(
        "the health of the main service", functools.partial(_healths, config), runtime, replicas
    )
    ports = fact("the Compose file", lambda runtime: runtime.ports(), selected)
    main, diagnosis = _MainService(config, runtime, replicas), diagnosis_of(config.profile)
    stack = [runtime, replicas]
    facts: dict[str, Future[Any]] = {
        "context": fact("Docker's context", lambda: _context(environ)),
        "engine": fact("Docker Engine", engine.describe, client),
        "compose": fact("Docker Compose", machine.compose_version),
        "ports": ports,
        "holders": fact(
            "the programs that use the ports",
            functools.partial(_holders, client, replicas),
            ports,
            after=[client, replicas],
        ),
        "will_write_env": fact("the volumes", lambda runtime: runtime.will_write_env(), runtime),
        "expected_services": fact(
            "the Compose file", lambda runtime: runtime.expected_services(), runtime
        ),
        "replicas": replicas,
        "healths": healths,
        "schema": fact("the schema", lambda _: _schema(config, main), replicas),
        "output": fact(
            "the logs",
            functools.partial(_output, config, diagnosis, main, healths),
            *stack,
            after=[healths],
        ),
        "stale": fact(
            "the configuration", lambda runtime: runtime.staleness(config.service), runtime
        ),
        "commands": fact("the processes", _commands, *stack),
        "disk": fact("the disk", lambda: machine.disk(config.root)),
        "disks": fact("the disks", functools.partial(_disks, config, client), *stack),
    }
    more = {
        name: fact(
            spec.title,
            functools.partial(spec.find, main),
            after=stack if spec.asks_service else (),
        )
        for name, spec in diagnosis.facts.items()
    }
    late = gatherer.wait(limit, show_pending)
    selected = gatherer.done_or_failed(selected)
    needs_docker = gatherer.done_or_failed(needs_docker)
    if selected.exception():
        facts["replicas"] = selected  # its error says what to do
    chosen = None if selected.exception() else selected.result()
    return Facts(
        runtime=chosen.name if chosen else config.runtime,
        in_containers=chosen.capabilities.containers if chosen else True,
        needs_docker=bool(needs_docker.exception()) or needs_docker.result(),
        service=config.service,
        profile=config.profile,
        diagnosis=diagnosis,
        now=datetime.now(UTC),
        timed_out=late,
        variables=_stack_variables(config, variable_errors, environ),
        **{name: gatherer.done_or_failed(future) for name, future in facts.items()},
        extra={name: gatherer.done_or_failed(future) for name, future in more.items()},
    )


class _MainService:
    """Implements `profile.MainService`. Its methods wait for the facts that they need."""

    def __init__(
        self, config: Config, runtime: Future[Runtime], replicas: Future[list[Replica]]
    ) -> None:
        self.root, self.variables = config.root, config.variables
        self._service = config.service
        self._runtime, self._replicas = runtime, replicas

    def answers(self, path: str) -> list[Mapping[str, Any]]:
        replicas = self._replicas.result()
        running = [r for r in replicas if r.service == self._service and r.running]
        if not running:
            raise Skipped(f"{self._service} is not running")
        runtime = self._runtime.result()
        return [runtime.get(replica, path, PROBE_TIMEOUT).body for replica in running]

    def execute(self, *command: str) -> str:
        return self._runtime.result().execute(self._service, command, PROBE_TIMEOUT)

    def last_lines(self) -> Sequence[LogLine]:
        return logs.last_lines(self._runtime.result(), self._service, TAIL)


def _needs_docker(runtime: Runtime, config: Config, environ: Mapping[str, str]) -> bool:
    """Return True if the stack runs on Docker, or would if Docker responded."""
    if not isinstance(runtime, LocalRuntime):
        return True
    docker = environ.get("DOCKER_HOST") or environ.get("DOCKER_CONTEXT") or machine.has_docker()
    return bool(docker) and config.runtime == "auto" and not runtime.has_been_up()


def _reachable(runtime: Runtime, client: Future[engine.Client]) -> Runtime:
    """Return the runtime once its engine, if it has one, responds."""
    if runtime.capabilities.containers:
        client.result()
    return runtime


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


def _healths(config: Config, runtime: Runtime, replicas: Sequence[Replica]) -> list[Health]:
    running = [r for r in replicas if r.service == config.service and r.running]
    return [check_replica(runtime, r, PROBE_TIMEOUT, config.readiness) for r in running]


def _schema(config: Config, main: _MainService) -> Schema:
    if not config.profile.schema:
        raise Skipped("the profile defines no schema")
    return schema_of(main.answers(config.profile.schema.path)[0])


def _output(
    config: Config,
    diagnosis: Diagnosis,
    main: _MainService,
    health_future: Future[list[Health]],
    runtime: Runtime,
    replicas: Sequence[Replica],
) -> dict[str, list[str]]:
    """Return the last log lines of each unhealthy or restarted service, since its start."""
    affected = {r.service for r in replicas if not is_ready(r) or r.restarts}
    error = health_future.exception()
    healths = [] if error else health_future.result()
    if error or any(health.state is not State.HEALTHY for health in healths):
        affected.add(config.service)
    output = {}
    for service in sorted(affected):
        began = causes.relevant_since(
            [r for r in replicas if r.service == service], datetime.now(UTC)
        )
        lines = logs.last_lines(
            runtime, service, TAIL, timestamps.log_time(began) if began else None
        )
        output[service] = [line.text for line in (lines if began else causes.last_minute(lines))]
    if config.service in output:
        output[config.service] += diagnosis.causes(main, healths)
    return output


def _commands(runtime: Runtime, replicas: Sequence[Replica]) -> dict[str, str]:
    running = [replica for replica in replicas if replica.running]
    return {replica.replica: runtime.main_command(replica) for replica in running}


def _holders(
    client: Future[engine.Client],
    replicas: Future[list[Replica]],
    ports: Mapping[str, Sequence[int]],
) -> dict[int, str]:
    """Return what uses the ports of services that are not running."""
    if not ports:
        return {}
    if not engine.describe(client.result()).is_here:
        raise Skipped("the engine may publish its ports on another machine")
    running = () if replicas.exception() else {r.service for r in replicas.result() if r.running}
    needed = [
        port
        for service, service_ports in ports.items()
        if service not in running
        for port in service_ports
    ]
    return {
        port: _holder(client.result(), port) for port in needed if not machine.is_port_free(port)
    }


def _holder(client: engine.Client, port: int) -> str:
    container = engine.publisher(client, port)
    return f"the container {container}" if container else machine.listener(port)


def _disks(
    config: Config,
    client: Future[engine.Client],
    runtime: Runtime,
    replicas: Sequence[Replica],
) -> list[Disk]:
    """Return the disk that the services use, unless it is that of the checkout."""
    if not runtime.capabilities.containers:
        return []
    info = engine.describe(client.result())
    folder = Path(info.folder)
    if info.is_here and folder.exists():
        is_same = folder.stat().st_dev == config.root.stat().st_dev
        return [] if is_same else [machine.disk(folder)]
    for replica in replicas:
        with suppress(StackError, ValueError, IndexError):
            output = runtime.execute(replica.service, ("df", "-Pk", "/"), PROBE_TIMEOUT)
            return [machine.read_df(f"the disk of {replica.node}", output)]
    return []


def _stack_variables(
    config: Config, variable_errors: Sequence[BadInput], environ: Mapping[str, str]
) -> StackVariables:
    required: list[str] = []
    with suppress(OSError):
        for file in compose_files(config.root, environ):
            required += re.findall(r"(?<!\$)\$\{(\w+):?\?", file.read_text("utf-8", "replace"))
    names = read_env_file(config.root / ".env.example", on_error=lambda _: None)
    env_file = read_env_file(config.root / ".env", environ, lambda _: None)
    return StackVariables(
        values=config.variables,
        errors=tuple(variable_errors),
        file_exists=(config.root / ".env").exists(),
        required=tuple(dict.fromkeys(required)),
        missing=tuple(
            name
            for name in dict.fromkeys(required)
            if not (config.variables.get(name) or environ.get(name))
        ),
        unknown=tuple(name for name in env_file if names and name not in names),
        example_names=tuple(names),
    )
