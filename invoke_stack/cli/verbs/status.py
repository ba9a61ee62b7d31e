"""Show the services of the stack, the schema and the last boot."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from invoke_stack.cli.glue import (
    JSON,
    RUNTIME,
    WATCH,
    Context,
    Exit,
    make_console,
    open_session,
    verb,
)
from invoke_stack.errors import NotHealthy
from invoke_stack.model import Snapshot
from invoke_stack.render import documents

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from rich.text import Text

    from invoke_stack.commands.session import Session
    from invoke_stack.errors import StackError


@verb(json=JSON, watch=WATCH, runtime=RUNTIME)
def status(context: Context, json: bool = False, watch: bool = False, runtime: str = "") -> None:
    """Show every service, the schema, and the last boot.

    Shows for each service its state, uptime, automatic restarts and port; the
    schema's revision compared with head; and the duration of each phase of the
    backend's last boot. --watch polls every second, also while the engine is
    down; q quits.

    Examples:
      inv status
      inv status --watch
      inv status --json | jq -r .migrations.current

    Exit codes: 0 all running, or q with --watch; 3 a service is not running or
    unhealthy; 4 the stack is not up, or no engine answers; 130 Ctrl-C.
    """
    session = open_session(context, runtime, needs_variables=False)
    if watch:
        _watch(session, json)
    else:
        show_status(session, json)


def show_status(session: Session, json: bool, services: Collection[str] | None = None) -> None:
    """Show the stack. Raises `Exit` with 3 if one of `services` (default: any) is not healthy."""
    from invoke_stack.commands.status import StatusPoller

    snapshot = StatusPoller(session).poll()
    if json:
        print(documents.dumps(documents.status_json(snapshot)))
    else:
        from invoke_stack.cli.screen import table

        console = make_console()
        for line in table.status_lines(snapshot, datetime.now(UTC), console.width):
            console.print(line)
    replicas = [
        replica for replica in snapshot.replicas if services is None or replica.service in services
    ]
    if any(not replica.running or replica.health == "unhealthy" for replica in replicas):
        raise Exit(code=NotHealthy.exit_code)


def _watch(session: Session, json: bool) -> None:
    from invoke_stack.cli import live
    from invoke_stack.commands.status import StatusPoller

    poller = StatusPoller(session)
    runtime = session.runtime.name

    def dumps(value: Snapshot | StackError) -> str:
        snapshot = (
            value if isinstance(value, Snapshot) else Snapshot(runtime, problem=value.message)
        )
        return documents.dumps(documents.status_json(snapshot))

    if json:
        live.watch_json(poller.poll, dumps)
    else:
        live.watch(poller.poll, f"{session.config.root.name} · {runtime}", _View(runtime))


class _View:
    """The last snapshot of the stack."""

    def __init__(self, runtime: str) -> None:
        self.snapshot = Snapshot(runtime)
        self.failing_since: datetime | None = None

    def add(self, value: Snapshot | StackError, at: datetime) -> None:
        if isinstance(value, Snapshot):
            self.snapshot, self.failing_since = value, None
        else:
            self.failing_since = self.failing_since or at

    def lines(self, now: datetime, width: int) -> Sequence[Text]:
        from invoke_stack.cli.screen import table

        if not self.snapshot.services:
            return []
        # Uptimes stop growing while the stack cannot be reached.
        return table.status_lines(self.snapshot, self.failing_since or now, width)

    latest_lines = lines
