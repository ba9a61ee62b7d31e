"""The verbs, as Invoke tasks: parse the words, call what does the work, render what comes back."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.main import program
from invoke.tasks import Task

from ops import config, words
from ops.errors import BadInput, NotHealthy, OpsError

if TYPE_CHECKING:
    from rich.console import Console

    from ops.config import Config
    from ops.model import LogLine
    from ops.runtime import Runtime

_RUNTIME = "where the stack runs: auto, compose, local or swarm"
_JSON = "print JSON on stdout, for programs"
_TIMEOUT = "seconds to wait until it is ready"


def verb(**help_of_flags: str) -> Callable[[Callable[..., None]], Task[Any]]:
    """Make a task that ends as the contract says: our errors in two lines, with their exit code."""

    def decorate(body: Callable[..., None]) -> Task[Any]:
        @functools.wraps(body)
        def run(context: Context, **flags: Any) -> None:
            _speak_utf8()
            try:
                body(context, **flags)
            except OpsError as error:
                if _debugging():
                    raise
                message = error.message + (f"\n  {error.hint}" if error.hint else "")
                raise Exit(message, error.exit_code) from None
            except KeyboardInterrupt:
                raise Exit("interrupted", 130) from None
            except BrokenPipeError:
                # The reader has seen enough, as in `inv logs | head`.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                raise Exit(code=0) from None
            except Exception as error:
                if _debugging() or isinstance(error, Exit):
                    raise
                what = f"unexpected: {type(error).__name__}: {error}".splitlines()[0]
                raise Exit(f"{what}\n  see where with: inv --debug {body.__name__}", 1) from error

        names = {flag.replace("_", "-"): text for flag, text in help_of_flags.items()}
        name = body.__name__.replace("_", "-")
        return Task(run, name=name, help={k.replace("-", "_"): v for k, v in names.items()})

    return decorate


def _debugging() -> bool:
    return bool(getattr(program, "args", None) and program.args.debug.value)


def _speak_utf8() -> None:
    # An old Windows console has a code page without ✓.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure") and stream.encoding.lower() != "utf-8":
            stream.reconfigure(encoding="utf-8", errors="replace")


def _configure(context: Context, runtime: str) -> Config:
    root = Path(context.config.ops.get("root") or os.getcwd())  # noqa: PTH109
    return config.load(root, context.config.ops, os.environ, runtime)


def _resolve(context: Context, runtime: str) -> tuple[Config, Runtime]:
    from ops import runtimes

    configured = _configure(context, runtime)
    return configured, runtimes.pick(configured, _say)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    # What is piped is never wrapped: lines belong to the program that reads them.
    width = None if stream.isatty() else 10_000
    return Console(file=stream, highlight=False, width=width)


@contextmanager
def _changing(configured: Config, name: str) -> Iterator[None]:
    from ops import lock

    with lock.held(configured.state, name):
        yield


# Verbs


@verb(
    build="build the images first",
    timeout=_TIMEOUT,
    json=_JSON,
    runtime=_RUNTIME,
)
def up(
    context: Context,
    build: bool = False,
    timeout: str = "600",
    json: bool = False,
    runtime: str = "",
) -> None:
    """Bring the stack up and wait until it is ready."""
    from ops import up as waiting

    limit = config.seconds("--timeout", timeout)
    configured, where = _resolve(context, runtime)
    with _changing(configured, "up"):
        where.up(build=build, say=_say)
        replicas = waiting.wait(where, configured.service, timeout=limit, say=_say)
    for replica in replicas:
        if replica.ports and replica.service in ("frontend", configured.service):
            _say(f"{replica.replica}: http://{replica.ports[0]}")
    _show_status(configured, where, json)


@verb(
    volumes="delete the data as well",
    yes="do not ask before deleting",
    runtime=_RUNTIME,
)
def down(context: Context, volumes: bool = False, yes: bool = False, runtime: str = "") -> None:
    """Stop the stack; its data stays."""
    configured, where = _resolve(context, runtime)
    if volumes and not yes:
        _confirm("Delete the stack's data, logs and passwords for good?")
    with _changing(configured, "down"):
        where.down(volumes=volumes, say=_say)


def _confirm(question: str) -> None:
    if not sys.stdin.isatty():
        raise BadInput(f"cannot ask: {question}", "say so beforehand: --yes")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Exit("nothing was changed", 130)


_RESTART_HELP = {
    "logs": "show the lines of the new start",
    "tail": "show at most this many of them",
    "timeout": _TIMEOUT,
    "json": _JSON,
    "runtime": _RUNTIME,
}


@verb(**_RESTART_HELP)
def restart_backend(
    context: Context,
    logs: bool = True,
    tail: str = "50",
    timeout: str = "600",
    json: bool = False,
    runtime: str = "",
) -> None:
    """Restart the backend, follow its new start, and give a verdict on it."""
    _restart(context, None, logs, tail, timeout, json, runtime)


@verb(services="the service to restart", **_RESTART_HELP)
def restart(
    context: Context,
    services: str = "",
    logs: bool = True,
    tail: str = "50",
    timeout: str = "600",
    json: bool = False,
    runtime: str = "",
) -> None:
    """Restart any service: inv restart SERVICE."""
    if not services:
        raise BadInput("restart needs the name of a service", "for example: inv restart worker")
    _restart(context, services, logs, tail, timeout, json, runtime)


def _restart(
    context: Context,
    service: str | None,
    logs: bool,
    tail: str,
    timeout: str,
    as_json: bool,
    runtime: str,
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from ops import render
    from ops import restart as story
    from ops.model import Outcome

    limit = config.seconds("--timeout", timeout)
    most = config.count("--tail", tail)
    configured, where = _resolve(context, runtime)
    name = service or configured.service
    out = _console(stderr=as_json)
    with _changing(configured, f"restart {name}"), ThreadPoolExecutor(1) as beside:
        stale = beside.submit(where.staleness, name)
        with _Narrator(out, most if logs else 0) as narrator:
            verdicts = story.restart(
                where,
                name,
                by_http=name == configured.service,
                timeout=limit,
                audience=narrator,
            )
        if why := stale.result():
            _say(f"note: {why}; a restart does not take that over, inv up does")
    worst = max(verdicts, key=lambda verdict: list(Outcome).index(verdict.outcome))
    if as_json:
        print(render.dumps(render.verdict_json(verdicts, worst, where.name)))
    else:
        for verdict in verdicts:
            render.verdict_text(out, verdict)
    if worst.outcome is not Outcome.HEALTHY:
        raise Exit(code=NotHealthy.exit_code)


class _Narrator:
    """Shows a restart while it happens: its lines, and on a terminal what is being waited for."""

    def __init__(self, console: Console, most: int) -> None:
        from ops.render import LinePrinter

        self.console = console
        self.left = most
        self.most = most
        self.printer = LinePrinter([], timestamps=False, colour=_coloured(console))
        self.status: Any = None
        self.told = 0.0

    def __enter__(self) -> _Narrator:
        if self.console.is_terminal:
            self.status = self.console.status("restarting")
            self.status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.status:
            self.status.stop()

    def line(self, line: LogLine) -> None:
        from ops.logs import plain

        if self.left:
            self.left -= 1
            text = self.printer.text(line._replace(text=plain(line.text)))
            self.console.out(text, highlight=False)
            if not self.left and self.most:
                self.console.print("[dim]… the rest: inv logs[/]")

    def say(self, text: str) -> None:
        _say(text)

    def waiting(self, what: str, seconds: float, limit: float) -> None:
        text = f"waiting for {what}: {seconds:.0f} s of at most {limit:.0f} s"
        if self.status:
            self.status.update(text)
        elif seconds - self.told >= 10:
            self.told = seconds
            _say(text)


def _coloured(console: Console) -> bool:
    return console.is_terminal and not console.no_color and console.color_system is not None


@verb(
    services="services to show, with commas between them; by default the backend",
    tail="how many of the last lines, over all services together",
    follow="go on with what comes, across restarts",
    since="only lines after this age or time, such as 10m",
    grep="only lines that match this regular expression",
    json=_JSON,
    timestamps="begin each line with its time (UTC)",
    runtime=_RUNTIME,
)
def logs(
    context: Context,
    services: str = "",
    tail: str = "100",
    follow: bool = False,
    since: str = "",
    grep: str = "",
    json: bool = False,
    timestamps: bool = False,
    runtime: str = "",
) -> None:
    """Show log lines: inv logs [SERVICE,…], merged by time."""
    from ops import logs as lines
    from ops import render

    most = config.count("--tail", tail)
    start = config.since("--since", since, datetime.now(UTC)) if since else None
    matching = config.pattern("--grep", grep) if grep else None
    configured, where = _resolve(context, runtime)
    names = [name for name in services.split(",") if name] or [configured.service]
    found = where.logs(list(dict.fromkeys(names)), tail=most, since=start, follow=follow, say=_say)
    console = _console()
    printer = render.LinePrinter(names, timestamps, _coloured(console))
    show = render.line_text if json else printer.text
    write, flush = sys.stdout.write, sys.stdout.flush
    for line in lines.select(found, matching):
        if line is None:
            flush()
        else:
            write(show(line) + "\n")
    flush()


@verb(
    json=_JSON,
    watch="look again every second until Ctrl-C",
    timeout="seconds to wait for an answer",
    url="ask this address instead of looking the backend up",
    runtime=_RUNTIME,
)
def health(
    context: Context,
    json: bool = False,
    watch: bool = False,
    timeout: str = "3",
    url: str = "",
    runtime: str = "",
) -> None:
    """Ask the backend how it is."""
    from ops import health as probe
    from ops.model import State

    limit = config.seconds("--timeout", timeout)
    if url:
        base = config.base_url("--url", url)
        configured = _configure(context, runtime)

        def look() -> list[Any]:
            answer = probe.fetch(f"{base}/ready", limit)
            return [probe.read(answer, configured.service, configured.service, "")]

        runtime_name = configured.runtime
    else:
        configured, where = _resolve(context, runtime)
        runtime_name = where.name

        def look() -> list[Any]:
            replicas = where.replicas(configured.service, probe=False)
            return [probe.check(where, replica, limit) for replica in replicas]

    if watch:
        _watch(lambda console: _show_health(look(), runtime_name, json, console))
    looks = look()
    _show_health(looks, runtime_name, json, None)
    state = probe.worst(looks).state
    if state is State.UNREACHABLE:
        raise Exit(code=4)
    if state is not State.HEALTHY:
        raise Exit(code=NotHealthy.exit_code)


def _show_health(looks: list[Any], runtime: str, json: bool, console: Console | None) -> None:
    from ops import health as probe
    from ops import render

    if json:
        print(render.dumps(render.health_json(looks, probe.worst(looks), runtime)), flush=True)
        return
    for look in looks:
        render.health_text(console or _console(), look, probe.explain(look), runtime)


def _watch(show: Callable[[Console], None]) -> None:
    """Show again every second until Ctrl-C, on a terminal in place."""
    import time

    console = _console()
    while True:
        if console.is_terminal:
            console.clear()
        show(console)
        time.sleep(1)


@verb(json=_JSON, watch="look again every second until Ctrl-C", runtime=_RUNTIME)
def status(context: Context, json: bool = False, watch: bool = False, runtime: str = "") -> None:
    """Show every service, and the schema revision against head."""
    configured, where = _resolve(context, runtime)
    if watch:
        _watch(lambda _: _show_status(configured, where, json))
    _show_status(configured, where, json)


def _show_status(configured: Config, where: Runtime, json: bool) -> None:
    from ops import health as probe
    from ops import render
    from ops.model import Schema

    replicas = where.replicas()
    running = [r for r in replicas if r.service == configured.service and r.running]
    schema = probe.schema(where, running[0], 2.0) if running else Schema()
    if json:
        print(render.dumps(render.status_json(where.services(), replicas, schema, where.name)))
    else:
        render.status_text(_console(), where.services(), replicas, schema, datetime.now(UTC))
    if any(not r.running or r.health == "unhealthy" for r in replicas):
        raise Exit(code=NotHealthy.exit_code)


@verb(json=_JSON, runtime=_RUNTIME)
def migrations(context: Context, json: bool = False, runtime: str = "") -> None:
    """Show the schema's revision, the newest one, and those between."""
    import json as codec

    from ops import render
    from ops.model import Schema

    configured, where = _resolve(context, runtime)
    said = codec.loads(where.execute(configured.service, ("python", "-m", "app.schema"), 30))
    schema = Schema(said["current"], said["head"], tuple(said["pending"]))
    if json:
        print(render.dumps(render.schema_json(schema)))
        return
    console = _console()
    console.print(render.schema_line(schema))
    for revision in schema.pending or ():
        console.print(f"  pending: {revision}")


VERBS: tuple[Task[Any], ...] = (
    *(up, down, restart_backend, restart, logs, health, status, migrations),
)


def namespace(*more: Task[Any], root: Path) -> Collection:
    """All verbs, and the project's own tasks, for the `tasks.py` in `root`."""
    collection = Collection(*VERBS, *more)
    collection.configure({"ops": config.DEFAULTS | {"root": str(root)}})
    _name_services(collection)
    return collection


def _name_services(collection: Collection) -> None:
    """Let services be bare words; see `ops.words`."""
    parsed = getattr(program, "core", None)
    if not parsed:  # not run by `inv`
        return
    takers = {
        name: {flag: arg.takes_value for arg in task.get_arguments() for flag in _flags(arg.names)}
        for name, task in collection.tasks.items()
        if any("services" in arg.names for arg in task.get_arguments())
    }
    parsed.unparsed[:] = words.name_services(parsed.unparsed, takers)


def _flags(names: tuple[str, ...]) -> list[str]:
    return [f"-{name}" if len(name) == 1 else f"--{name.replace('_', '-')}" for name in names]
