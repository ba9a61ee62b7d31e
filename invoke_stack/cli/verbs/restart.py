"""Restart a service, follow its new start, and show the verdict."""

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
    has_colour,
    make_console,
    open_session,
    say,
    show_plan,
    stop_status,
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
    "logs": "show the log lines of the new start",
    "tail": "show only the first N lines of the new start",
    "timeout": TIMEOUT,
    "json": JSON,
    "dry_run": DRY_RUN,
    "runtime": RUNTIME,
}


@verb(changes=True, **_RESTART_HELP)
def restart_backend(
    context: Context,
    logs: bool = True,
    tail: str = "50",
    timeout: str = "600",
    json: bool = False,
    dry_run: bool = False,
    runtime: str = "",
) -> None:
    """Restart the backend, and report how its new start went.

    Shows the log lines of the new process and waits until it is ready or has
    failed. Ignores log lines and responses of the old process. The verdict lists
    the duration of each phase; after a failure also the last log lines and what
    to do next. A changed image or .env is not applied; inv up does that.

    Examples:
      inv restart-backend
      inv restart-backend --no-logs --timeout 2m
      inv restart-backend --dry-run
      inv restart-backend --json

    Exit codes: 0 healthy; 3 degraded, failed, unknown, or not ready in time; 4
    the stack is not up, or locked by another command.
    """
    max_lines = config.count("--tail", tail)
    output = _Output(max_lines if logs else 0, json, dry_run)
    _restart(context, runtime, None, config.seconds("--timeout", timeout), output)


@verb(changes=True, services="the service to restart", **_RESTART_HELP)
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

    Like inv restart-backend, for any service of the stack. A service without an
    endpoint is judged by its own health check.

    Examples:
      inv restart worker
      inv restart postgres --timeout 2m

    Exit codes: 0 healthy; 3 degraded, failed, unknown, or not ready in time; 4
    no such service, or the stack is not up or locked by another command.
    """
    if not services:
        raise BadInput("restart needs a service name", "for example: inv restart worker")
    max_lines = config.count("--tail", tail)
    output = _Output(max_lines if logs else 0, json, dry_run)
    _restart(context, runtime, services, config.seconds("--timeout", timeout), output)


@dataclass(frozen=True)
class _Output:
    """How to show a restart."""

    max_lines: int  # of the new start's log
    json: bool
    dry_run: bool


def _restart(
    context: Context, runtime: str, service: str | None, timeout: float, output: _Output
) -> None:
    from invoke_stack.commands import plan
    from invoke_stack.commands.restart import restart_service

    session = open_session(context, runtime)
    name = service or session.config.service
    if output.dry_run:
        show_plan(plan.restart(session, name), session.runtime.name, output.json)
        return
    console = make_console(stderr=output.json)
    with _Reporter(console, output.max_lines, session.config.phases.prefix) as reporter:
        result = restart_service(session, name, timeout=timeout, reporter=reporter)
    if result.stale:
        say(f"notice: {name} is out of date: {result.stale}\n  apply the change with: inv up")
    if output.json:
        document = documents.verdict_json(result.verdicts, result.worst, session.runtime.name)
        print(documents.dumps(document))
    else:
        from invoke_stack.cli.screen import summary

        for verdict in result.verdicts:
            summary.print_verdict(console, verdict)
    if result.worst.outcome is not Outcome.HEALTHY:
        raise Exit(code=NotHealthy.exit_code)


class _Reporter:
    """Shows the log lines of a restart as they come, and on a terminal its progress."""

    def __init__(self, console: Console, max_lines: int, prefix: str) -> None:
        self.console = console
        self.max_lines = max_lines
        self.remaining = max_lines
        colour = has_colour(console)
        self.printer = LinePrinter([], timestamps=False, colour=colour, prefix=prefix)
        self.status: Any = None
        self.reported_at = 0.0  # seconds into the wait, of the last progress line

    def __enter__(self) -> _Reporter:
        if self.console.is_terminal:
            self.status = self.console.status("restarting")
            self.status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.status:
            stop_status(self.status)

    def show_line(self, line: LogLine) -> None:
        if self.remaining:
            self.remaining -= 1
            text = self.printer.text(line._replace(text=plain(line.text)))
            self.console.out(text, highlight=False)
            if not self.remaining and self.max_lines:
                self.console.print("[dim]… the rest: inv logs[/]")

    def show_notice(self, text: str) -> None:
        say(text)

    def show_progress(self, what: str, seconds: float, limit: float) -> None:
        text = f"waiting for {what}: {seconds:.0f} s of at most {limit:.0f} s"
        if self.status:
            self.status.update(text)
        elif seconds - self.reported_at >= 10:
            self.reported_at = seconds
            say(text)
