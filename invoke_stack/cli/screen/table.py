"""The stack at a glance: a table of services, the schema revision, and the last boot."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.markup import escape
from rich.text import Text

from invoke_stack.cli.screen import columns
from invoke_stack.cli.screen.console import plain
from invoke_stack.model import FAILURES, Boot, Phase, Replica, Schema, Snapshot, Status, Step


def status_lines(snapshot: Snapshot, now: datetime, width: int) -> list[Text]:
    """Return the whole snapshot; the table loses its last columns if it is wider than `width`."""
    several_nodes = len({replica.node for replica in snapshot.replicas}) > 1
    # Columns are dropped from the end, so the least important one is last.
    node = ["NODE"] if several_nodes else []
    headings = ["SERVICE", "STATE", "UP", "RESTARTS", "PORT", *node, "IMAGE"]
    rows: list[list[Text]] = []
    for name in snapshot.services:
        replicas = [replica for replica in snapshot.replicas if replica.service == name]
        if not replicas:
            rows.append([Text(name), Text("absent", "dim"), *[Text()] * (len(headings) - 2)])
        rows += [_row(replica, several_nodes, now) for replica in replicas]
    lines = columns.align(headings, rows, width)
    lines += [_reason_line(replica) for replica in snapshot.replicas if replica.reason]
    if snapshot.schema:
        lines.append(Text.from_markup(schema_line(snapshot.schema), emoji=False))
    lines += [boot_line(name, boot, snapshot.replicas) for name, boot in snapshot.boots.items()]
    return [plain(line) for line in lines]


def _row(replica: Replica, several_nodes: bool, now: datetime) -> list[Text]:
    uptime = (now - replica.started_at).total_seconds() if replica.started_at else None
    return [
        Text(replica.replica),
        _state(replica),
        Text("-" if uptime is None else columns.format_duration(uptime)),
        Text(str(replica.restarts), "yellow" if replica.restarts else ""),
        Text(" ".join(port.removeprefix("127.0.0.1:") for port in replica.ports)),
        *([Text(replica.node)] if several_nodes else []),
        Text(replica.image),
    ]


def _state(replica: Replica) -> Text:
    if replica.status is Status.RUNNING:
        tint = {"healthy": "green", "unhealthy": "red", "starting": "cyan"}
        return Text(replica.health or "running", tint.get(replica.health or "", ""))
    exit_code = "" if replica.exit_code is None else f" ({replica.exit_code})"
    return Text(f"{replica.status}{exit_code}", "red")


def _reason_line(replica: Replica) -> Text:
    if not replica.running or replica.health == "unhealthy":
        sign, colour = "✗", "red"
    elif replica.health == "starting":
        sign, colour = "…", "cyan"
    else:  # it has recovered from this
        sign, colour = "!", "yellow"
    return Text.assemble((sign, colour), f" {replica.replica}: {replica.reason}")


def plan_lines(steps: Sequence[Step]) -> list[Text]:
    """Return the steps of a dry run as a table, and a note that nothing was changed."""
    if not steps:
        return [Text("nothing to do")]
    rows = [(Text(step.action), Text(step.name, "bold"), plain(Text(step.why))) for step in steps]
    table = columns.align(("ACTION", "NAME", "REASON"), rows, 10_000)
    return [*table, Text("nothing was changed")]


def schema_line(schema: Schema) -> str:
    """Return the schema's revision compared with head, in one line of Rich markup."""
    if schema.head is None:
        return "schema: [yellow]unknown[/] (not reported by the backend)"
    if schema.current == schema.head:
        return f"schema: [green]{escape(schema.head)}[/], current"
    behind = len(schema.pending or ())
    return (
        f"schema: [yellow]{escape(schema.current or 'empty')}[/],"
        f" {behind} behind {escape(schema.head)}"
    )


def boot_line(name: str, boot: Boot, replicas: Sequence[Replica]) -> Text:
    """Return the duration of each phase of a boot, with the replica's name if there are several."""
    replica = next(replica for replica in replicas if replica.replica == name)
    several = sum(other.service == replica.service for other in replicas) > 1
    line = Text(f"last boot of {name}: " if several else "last boot: ")
    is_serving = replica.running and replica.health in ("healthy", None)
    for number, phase in enumerate(boot.phases):
        line.append(", " if number else "")
        line.append_text(_phase(phase, is_serving))
    return line


def _phase(phase: Phase, is_serving: bool) -> Text:
    attempts = f"{phase.attempts} attempts" if phase.attempts > 1 else ""
    duration = f"{phase.name} {phase.seconds:.1f}s"
    if phase.outcome in FAILURES:
        suffix = f" after {attempts}" if attempts else ""
        return Text(f"{duration} {phase.outcome}{suffix}", "red")
    if phase.outcome:
        return Text(duration + (f" in {attempts}" if attempts else ""))
    if is_serving:  # the last phase has no end marker in the log
        return Text(f"{phase.name} serving")
    attempt = f", attempt {phase.attempts}" if attempts else ""
    return Text(f"{duration} so far{attempt}", "cyan")
