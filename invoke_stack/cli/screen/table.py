"""The stack at a glance: its services as a table, where the schema stands, how the last boot went."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.markup import escape
from rich.text import Text

from invoke_stack.cli.screen import grid
from invoke_stack.cli.screen.console import plain
from invoke_stack.model import FAILURES, Boot, Phase, Replica, Schema, Snapshot, Status, Step


def status_lines(seen: Snapshot, now: datetime, width: int) -> list[Text]:
    """All of it, in lines of at most `width` cells where that is possible."""
    several = len({replica.node for replica in seen.replicas}) > 1
    # What is dropped first where there is little room stands last.
    heads = ["SERVICE", "STATE", "UP", "RESTARTS", "PORT", *(["NODE"] if several else []), "IMAGE"]
    rows: list[list[Text]] = []
    for name in seen.services:
        of_service = [replica for replica in seen.replicas if replica.service == name]
        if not of_service:
            rows.append([Text(name), Text("absent", "dim"), *[Text()] * (len(heads) - 2)])
        rows += [_row(replica, several, now) for replica in of_service]
    shown = grid.lines(heads, rows, width)
    shown += [_trouble(replica) for replica in seen.replicas if replica.reason]
    if seen.schema:
        shown.append(Text.from_markup(schema_line(seen.schema), emoji=False))
    shown += [boot_line(name, boot, seen.replicas) for name, boot in seen.boots.items()]
    return [plain(line) for line in shown]


def _row(replica: Replica, several_nodes: bool, now: datetime) -> list[Text]:
    age = (now - replica.started_at).total_seconds() if replica.started_at else None
    return [
        Text(replica.replica),
        _state(replica),
        Text("-" if age is None else grid.span(age)),
        Text(str(replica.restarts), "yellow" if replica.restarts else ""),
        Text(" ".join(port.removeprefix("127.0.0.1:") for port in replica.ports)),
        *([Text(replica.node)] if several_nodes else []),
        Text(replica.image),
    ]


def _state(replica: Replica) -> Text:
    if replica.status is Status.RUNNING:
        tint = {"healthy": "green", "unhealthy": "red", "starting": "cyan"}
        return Text(replica.health or "running", tint.get(replica.health or "", ""))
    code = "" if replica.exit_code is None else f" ({replica.exit_code})"
    return Text(f"{replica.status}{code}", "red")


def _trouble(replica: Replica) -> Text:
    if not replica.running or replica.health == "unhealthy":
        sign, colour = "✗", "red"
    elif replica.health == "starting":
        sign, colour = "…", "cyan"
    else:  # something that it has got over
        sign, colour = "!", "yellow"
    return Text.assemble((sign, colour), f" {replica.replica}: {replica.reason}")


def plan_lines(steps: Sequence[Step]) -> list[Text]:
    """What a verb would do, and that it was not done."""
    if not steps:
        return [Text("there is nothing to do")]
    rows = [(Text(step.action), Text(step.name, "bold"), plain(Text(step.why))) for step in steps]
    return [*grid.lines(("WOULD", "WHAT", "BECAUSE"), rows, 10_000), Text("nothing was changed")]


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


def boot_line(name: str, boot: Boot, replicas: Sequence[Replica]) -> Text:
    """What each phase of a boot took, or takes; the name only where there are several replicas."""
    replica = next(each for each in replicas if each.replica == name)
    several = sum(each.service == replica.service for each in replicas) > 1
    line = Text(f"last boot of {name}: " if several else "last boot: ")
    serves = replica.running and replica.health in ("healthy", None)
    for number, phase in enumerate(boot.phases):
        line.append(", " if number else "")
        line.append_text(_phase(phase, serves))
    return line


def _phase(phase: Phase, serves: bool) -> Text:
    tries = f"{phase.attempts} attempts" if phase.attempts > 1 else ""
    took = f"{phase.name} {phase.seconds:.1f}s"
    if phase.outcome in FAILURES:
        return Text(f"{took} {phase.outcome}" + (f" after {tries}" if tries else ""), "red")
    if phase.outcome:
        return Text(took + (f" in {tries}" if tries else ""))
    if serves:  # no line told when its last phase ended
        return Text(f"{phase.name} serving")
    attempt = f", attempt {phase.attempts}" if tries else ""
    return Text(f"{took} so far{attempt}", "cyan")
