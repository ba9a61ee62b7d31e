"""Restart a service, and tell the story of its new start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from invoke_stack import config
from invoke_stack.cli.glue import (
    DRY_RUN,
    JSON,
    RUNTIME,
    TIMEOUT,
    Context,
    Exit,
    coloured,
    say,
    show_plan,
    start,
    stop_status,
    terminal,
    verb,
)
from invoke_stack.errors import BadInput, NotHealthy
from invoke_stack.model import LogLine, Outcome
from invoke_stack.render import documents
from invoke_stack.render.lines import LinePrinter
from invoke_stack.text import plain

if TYPE_CHECKING:
    from rich.console import Console

_RESTART_HELP = {
    "logs": "show the lines of the new start",
    "tail": "show at most this many of them",
    "timeout": TIMEOUT,
    "json": JSON,
    "dry_run": DRY_RUN,
    "runtime": RUNTIME,
}


@verb(**_RESTART_HELP)
def restart_backend(
    context: Context,
    logs: bool = True,
    tail: str = "50",
    timeout: str = "600",
    json: bool = False,
    dry_run: bool = False,
    runtime: str = "",
) -> None:
    """Restart the backend and give a verdict on its new start.

    Shows what the new process says, phase by phase, and waits until it is ready
    or has failed. What the old process says or answers never counts. The verdict
    names how long each phase took; a bad one brings the last lines of the log,
    and what to do now. Changes of the image or of .env are not taken over: inv up
    does that.

    Examples:
      inv restart-backend
      inv restart-backend --no-logs --timeout 2m
      inv restart-backend --dry-run
      inv restart-backend --json

    Exit codes: 0 healthy; 3 degraded, failed, unknown, or not ready in time; 4
    the stack is not up, or somebody else changes it.
    """
    lines = config.count("--tail", tail)
    shown = _Output(lines if logs else 0, json, dry_run)
    _restart(context, runtime, None, config.seconds("--timeout", timeout), shown)


@verb(services="the service to restart", **_RESTART_HELP)
def restart(
    context: Context,
    services: str = "",
    logs: bool = True,
    tail: str = "50",
    timeout: str = "600",
    json: bool = False,
    dry_run: bool = False,
    runtime: str = "",
) -> None:
    """Restart any service: inv restart SERVICE.

    As inv restart-backend, for any service of the stack. One without an endpoint
    is judged by its own probe.

    Examples:
      inv restart worker
      inv restart postgres --timeout 2m

    Exit codes: 0 healthy; 3 degraded, failed, unknown, or not ready in time; 4
    there is no such service, the stack is not up, or somebody else changes it.
    """
    if not services:
        raise BadInput("restart needs the name of a service", "for example: inv restart worker")
    lines = config.count("--tail", tail)
    shown = _Output(lines if logs else 0, json, dry_run)
    _restart(context, runtime, services, config.seconds("--timeout", timeout), shown)


@dataclass(frozen=True)
class _Output:
    """What is shown of a restart."""

    lines: int  # at most so many of the new start
    json: bool
    plan_alone: bool


def _restart(
    context: Context, runtime: str, service: str | None, timeout: float, shown: _Output
) -> None:
    from invoke_stack.commands import plan
    from invoke_stack.commands.restart import restart_service

    session = start(context, runtime)
    name = service or session.config.service
    if shown.plan_alone:
        show_plan(plan.restart(session, name), session.runtime.name, shown.json)
        return
    out = terminal(stderr=shown.json)
    with _Narrator(out, shown.lines, session.config.phases.prefix) as narrator:
        done = restart_service(session, name, timeout=timeout, reporter=narrator)
    if done.stale:
        say(f"note: {done.stale}; a restart does not take that over, inv up does")
    if shown.json:
        body = documents.verdict_json(done.verdicts, done.worst, session.runtime.name)
        print(documents.dumps(body))
    else:
        from invoke_stack.cli.screen import cards

        for verdict in done.verdicts:
            cards.verdict_text(out, verdict)
    if done.worst.outcome is not Outcome.HEALTHY:
        raise Exit(code=NotHealthy.exit_code)


class _Narrator:
    """Shows a restart while it happens: its lines, and on a terminal what is being waited for."""

    def __init__(self, console: Console, most: int, prefix: str) -> None:
        self.console = console
        self.left = most
        self.most = most
        self.printer = LinePrinter([], timestamps=False, colour=coloured(console), prefix=prefix)
        self.status: Any = None
        self.told = 0.0

    def __enter__(self) -> _Narrator:
        if self.console.is_terminal:
            self.status = self.console.status("restarting")
            self.status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.status:
            stop_status(self.status)

    def line(self, line: LogLine) -> None:
        if self.left:
            self.left -= 1
            text = self.printer.text(line._replace(text=plain(line.text)))
            self.console.out(text, highlight=False)
            if not self.left and self.most:
                self.console.print("[dim]… the rest: inv logs[/]")

    def say(self, text: str) -> None:
        say(text)

    def waiting(self, what: str, seconds: float, limit: float) -> None:
        text = f"waiting for {what}: {seconds:.0f} s of at most {limit:.0f} s"
        if self.status:
            self.status.update(text)
        elif seconds - self.told >= 10:
            self.told = seconds
            say(text)
