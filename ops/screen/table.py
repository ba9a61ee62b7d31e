"""The services as a table, and where the schema stands."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from rich.markup import escape

from ops.model import Replica, Schema, Status

if TYPE_CHECKING:
    from rich.console import Console


def status_text(
    console: Console,
    services: Sequence[str],
    replicas: Sequence[Replica],
    schema: Schema | None,
    now: datetime,
) -> None:
    """A table of the services where there is a terminal, aligned plain lines elsewhere."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("SERVICE", "STATE", "UP", "RESTARTS", "PORT", "IMAGE"):
        table.add_column(column, no_wrap=True, overflow="ellipsis")
    for name in services:
        rows = [replica for replica in replicas if replica.service == name]
        if not rows:
            table.add_row(escape(name), "[dim]absent[/]", "", "", "", "")
        for replica in rows:
            table.add_row(
                escape(replica.replica),
                _state(replica),
                _age(replica.started_at, now),
                str(replica.restarts or "0"),
                escape(" ".join(port.removeprefix("127.0.0.1:") for port in replica.ports)),
                escape(replica.image),
            )
    console.print(table)
    for replica in replicas:
        if replica.reason:
            console.print(f"[red]✗[/] {escape(replica.replica)}: {escape(replica.reason)}")
    if schema:
        console.print(schema_line(schema))


def schema_line(schema: Schema) -> str:
    """Where the schema stands, in one line."""
    if schema.head is None:
        return "schema: [yellow]unknown[/] (the backend does not tell)"
    if schema.current == schema.head:
        return f"schema: [green]{escape(schema.head)}[/], current"
    behind = len(schema.pending or ())
    return (
        f"schema: [yellow]{escape(schema.current or 'empty')}[/],"
        f" {behind} behind {escape(schema.head)}"
    )


def _state(replica: Replica) -> str:
    if replica.status is Status.RUNNING:
        tint = {"healthy": "green", "unhealthy": "red", "starting": "cyan"}
        return (
            f"[{tint.get(replica.health or '', 'default')}]{escape(replica.health or 'running')}[/]"
        )
    code = "" if replica.exit_code is None else f" ({replica.exit_code})"
    return f"[red]{replica.status}{code}[/]"


def _age(start: datetime | None, now: datetime) -> str:
    if start is None:
        return "-"
    seconds = max(0, int((now - start).total_seconds()))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
