"""Show the stack at a glance."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from invoke_stack.cli.glue import JSON, RUNTIME, WATCH, Context, Exit, start, terminal, verb
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

    For each service its state, how long it is up, its restarts since somebody
    asked for a start, and its port; the schema's revision against head; and what
    each phase of the backend's last boot took. --watch goes on looking, even
    while the engine is away; q ends it.

    Examples:
      inv status
      inv status --watch
      inv status --json | jq -r .migrations.current

    Exit codes: 0 all run, or q under --watch; 3 one does not run, or is
    unhealthy; 4 the stack is not up, or no engine answers; 130 Ctrl-C.
    """
    session = start(context, runtime, needs_variables=False)
    if watch:
        _watch(session, json)
    else:
        show_status(session, json)


def show_status(session: Session, json: bool, services: Collection[str] | None = None) -> None:
    """Show the stack, and exit with 3 if one of `services`, by default of all, is not healthy."""
    from invoke_stack.commands.status import StatusPoller

    seen = StatusPoller(session).poll()
    if json:
        print(documents.dumps(documents.status_json(seen)))
    else:
        from invoke_stack.cli.screen import table

        console = terminal()
        for line in table.status_lines(seen, datetime.now(UTC), console.width):
            console.print(line)
    judged = [each for each in seen.replicas if services is None or each.service in services]
    if any(not each.running or each.health == "unhealthy" for each in judged):
        raise Exit(code=NotHealthy.exit_code)


def _watch(session: Session, json: bool) -> None:
    from invoke_stack.cli import live
    from invoke_stack.commands.status import StatusPoller

    glances = StatusPoller(session)
    runtime = session.runtime.name

    def dumps(found: Snapshot | StackError) -> str:
        seen = found if isinstance(found, Snapshot) else Snapshot(runtime, problem=found.message)
        return documents.dumps(documents.status_json(seen))

    if json:
        live.watch_json(glances.poll, dumps)
    else:
        live.watch(glances.poll, f"{session.config.root.name} · {runtime}", _View(runtime))


class _View:
    """The stack as it was last seen."""

    def __init__(self, runtime: str) -> None:
        self.seen = Snapshot(runtime)
        self.failing_since: datetime | None = None

    def take(self, found: Snapshot | StackError, at: datetime) -> None:
        if isinstance(found, Snapshot):
            self.seen, self.failing_since = found, None
        else:
            self.failing_since = self.failing_since or at

    def lines(self, now: datetime, width: int) -> Sequence[Text]:
        from invoke_stack.cli.screen import table

        if not self.seen.services:
            return []
        # What is out of reach grows no older before our eyes.
        return table.status_lines(self.seen, self.failing_since or now, width)

    news = lines
