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
    """Show every service, and the schema revision against head."""
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
