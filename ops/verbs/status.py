"""Show the stack at a glance."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from invoke.context import Context
from invoke.exceptions import Exit

from ops.errors import NotHealthy
from ops.verbs.edge import JSON, RUNTIME, resolve, terminal, verb, watched

if TYPE_CHECKING:
    from ops.config import Config
    from ops.runtime import Runtime


@verb(json=JSON, watch="look again every second until Ctrl-C", runtime=RUNTIME)
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
    configured, where = resolve(context, runtime)
    if watch:
        watched(lambda _: show_status(configured, where, json))
    show_status(configured, where, json)


def show_status(configured: Config, where: Runtime, json: bool) -> None:
    from ops import health as probe
    from ops.model import Schema
    from ops.screen import data

    replicas = where.replicas()
    running = [r for r in replicas if r.service == configured.service and r.running]
    schema = (
        probe.schema(where, running[0], 2.0) if running and configured.is_deal_scout else Schema()
    )
    if json:
        print(data.dumps(data.status_json(where.services(), replicas, schema, where.name)))
    else:
        from ops.screen import table

        shown = schema if configured.is_deal_scout else None
        table.status_text(terminal(), where.services(), replicas, shown, datetime.now(UTC))
    if any(not r.running or r.health == "unhealthy" for r in replicas):
        raise Exit(code=NotHealthy.exit_code)
