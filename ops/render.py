"""Model → text for people or JSON for programs. No input, and no output but to the given console."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ops.model import (
    Health,
    LogLine,
    Outcome,
    Phase,
    Replica,
    Schema,
    State,
    Status,
    Verdict,
)

if TYPE_CHECKING:
    from rich.console import Console

_STATE_STYLE = {
    State.HEALTHY: ("green", "✓"),
    State.DEGRADED: ("yellow", "!"),
    State.STARTING: ("cyan", "…"),
    State.UNHEALTHY: ("red", "✗"),
    State.UNREACHABLE: ("red", "✗"),
}
_OUTCOME_STYLE = {
    Outcome.HEALTHY: ("green", "✓"),
    Outcome.DEGRADED: ("yellow", "!"),
    Outcome.FAILED: ("red", "✗"),
    Outcome.TIMEOUT: ("red", "✗"),
}
_SERVICE_COLOURS = ("cyan", "green", "magenta", "blue", "yellow", "bright_cyan")


# JSON


def dumps(value: Any) -> str:
    """One line of JSON; times as RFC 3339 in UTC with milliseconds."""
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return _time(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(type(value).__name__)


def _time(value: datetime | None) -> str | None:
    if value is None:
        return None
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def health_json(looks: Sequence[Health], worst: Health, runtime: str) -> dict[str, Any]:
    """As the contract has it; `replicas` only when there are several."""

    def one(look: Health) -> dict[str, Any]:
        return {
            "url": look.url,
            "state": look.state,
            "http_status": look.http_status,
            "latency_ms": look.latency_ms,
            "checked_at": look.checked_at,
            "health": look.body or None,
        }

    result = {"service": worst.service, "runtime": runtime, **one(worst)}
    if len(looks) > 1:
        result["replicas"] = [
            {"replica": look.replica, "node": look.node, **one(look)} for look in looks
        ]
    return result


def verdict_json(verdicts: Sequence[Verdict], worst: Verdict, runtime: str) -> dict[str, Any]:
    """As the contract has it; `replicas` only when there are several."""

    def one(verdict: Verdict) -> dict[str, Any]:
        return {
            "verdict": verdict.outcome,
            "previous_started_at": verdict.previous_started_at,
            "started_at": verdict.started_at,
            "total_seconds": verdict.total_seconds,
            "phases": [_phase_json(phase) for phase in verdict.phases],
            "health": (verdict.health.body or None) if verdict.health else None,
            "reason": verdict.reason,
        }

    result = {"service": worst.service, "runtime": runtime, **one(worst)}
    if len(verdicts) > 1:
        result["replicas"] = [{"replica": v.replica, "node": v.node, **one(v)} for v in verdicts]
    return result


def _phase_json(phase: Phase) -> dict[str, Any]:
    return {
        "name": phase.name,
        "seconds": round(phase.seconds, 3),
        "attempts": phase.attempts,
        "outcome": phase.outcome or "unfinished",
    }


def line_text(line: LogLine) -> str:
    """A log line as one line of JSON."""
    return json.dumps(line._asdict(), ensure_ascii=False)


def status_json(
    services: Sequence[str], replicas: Sequence[Replica], schema: Schema, runtime: str
) -> dict[str, Any]:
    """As the contract has it; the top level of a service is the worst of its replicas."""
    listed: list[dict[str, Any]] = []
    for name in services:
        of_service = [replica for replica in replicas if replica.service == name]
        if not of_service:
            listed.append(
                {"name": name, "state": None, "health": None, "started_at": None}
                | {"restarts": 0, "image": None, "ports": []}
            )
            continue
        entry = {"name": name} | _replica_json(max(of_service, key=_badness))
        if len(of_service) > 1:
            entry["replicas"] = [
                {"replica": r.replica, "node": r.node} | _replica_json(r) for r in of_service
            ]
        listed.append(entry)
    return {"runtime": runtime, "services": listed, "migrations": schema_json(schema)}


def _replica_json(replica: Replica) -> dict[str, Any]:
    return {
        "state": replica.status,
        "health": replica.health,
        "started_at": replica.started_at,
        "restarts": replica.restarts,
        "image": replica.image,
        "ports": list(replica.ports),
    }


def _badness(replica: Replica) -> int:
    if not replica.running:
        return 3
    return {"unhealthy": 2, "starting": 1}.get(replica.health or "", 0)


def schema_json(schema: Schema) -> dict[str, Any]:
    pending = None if schema.pending is None else list(schema.pending)
    return {"current": schema.current, "head": schema.head, "pending": pending}


# Text


def health_text(console: Console, look: Health, why: str, runtime: str) -> None:
    """The state in one line, and what is behind it in a few."""
    colour, sign = _STATE_STYLE[look.state]
    detail = f" ({why})" if why else ""
    name = look.service if look.replica in ("", look.service) else look.replica
    console.print(f"[{colour}]{sign} {name} is {look.state}[/]{_escape(detail)}")
    body = look.body
    if body:
        facts = [
            f"DB {_yes(body.get('db'))}",
            f"Redis {_yes(body.get('redis'))}",
            f"queue {_known(body.get('queue_depth'))}",
            f"schema {_known(body.get('migrations'))}",
            f"version {_known(body.get('version'))}",
        ]
        console.print("  " + " · ".join(facts))
    timing = f" in {look.latency_ms:.0f} ms" if look.latency_ms is not None else ""
    console.print(f"  [dim]{_escape(look.url)}{timing}, {runtime}[/]")


def _yes(value: Any) -> str:
    return "[green]ok[/]" if value else "[red]down[/]"


def _known(value: Any) -> str:
    return "unknown" if value is None else _escape(str(value))


def verdict_text(console: Console, verdict: Verdict) -> None:
    """The card at the end of a restart."""
    colour, sign = _OUTCOME_STYLE[verdict.outcome]
    name = verdict.service if verdict.replica == verdict.service else verdict.replica
    said = {
        Outcome.HEALTHY: f"is healthy after {verdict.total_seconds:.1f} s",
        Outcome.DEGRADED: f"serves, but degraded, after {verdict.total_seconds:.1f} s",
        Outcome.FAILED: f"failed after {verdict.total_seconds:.1f} s",
        Outcome.TIMEOUT: f"is still not ready after {verdict.total_seconds:.0f} s",
    }[verdict.outcome]
    console.print(f"[bold {colour}]{sign} {name} {said}[/]")
    for phase in verdict.phases:
        tries = f"{phase.attempts} attempt{'s' if phase.attempts != 1 else ''}"
        outcome = phase.outcome or "not finished"
        bad = outcome in ("failed", "timed out", "not finished")
        tint = "red" if bad else "green"
        console.print(f"  {phase.name:<12}{phase.seconds:6.1f} s  {tries:<11} [{tint}]{outcome}[/]")
    if verdict.health and verdict.health.body:
        body = verdict.health.body
        console.print(
            f"  DB {_yes(body.get('db'))} · Redis {_yes(body.get('redis'))}"
            f" · queue {_known(body.get('queue_depth'))}"
            f" · schema {_known(body.get('migrations'))}"
        )
    if verdict.reason:
        console.print(f"  [bold]why[/]  {_escape(verdict.reason)}")
    if verdict.evidence:
        console.print("  [bold]its last lines[/]")
        for line in verdict.evidence:
            console.print(f"    {_escape(line.text)}", soft_wrap=True, highlight=False)
    if verdict.remedy:
        console.print(f"  [bold]now[/]  {_escape(verdict.remedy)}")


def status_text(
    console: Console,
    services: Sequence[str],
    replicas: Sequence[Replica],
    schema: Schema,
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
            table.add_row(name, "[dim]absent[/]", "", "", "", "")
        for replica in rows:
            table.add_row(
                replica.replica,
                _state(replica),
                _age(replica.started_at, now),
                str(replica.restarts or "0"),
                " ".join(port.removeprefix("127.0.0.1:") for port in replica.ports),
                _escape(replica.image),
            )
    console.print(table)
    for replica in replicas:
        if replica.reason:
            console.print(f"[red]✗[/] {replica.replica}: {_escape(replica.reason)}")
    console.print(schema_line(schema))


def schema_line(schema: Schema) -> str:
    """Where the schema stands, in one line."""
    if schema.head is None:
        return "schema: [yellow]unknown[/] (the backend does not tell)"
    if schema.current == schema.head:
        return f"schema: [green]{_escape(schema.head)}[/], current"
    behind = len(schema.pending or ())
    return (
        f"schema: [yellow]{_escape(schema.current or 'empty')}[/],"
        f" {behind} behind {_escape(schema.head)}"
    )


def _state(replica: Replica) -> str:
    if replica.status is Status.RUNNING:
        tint = {"healthy": "green", "unhealthy": "red", "starting": "cyan"}
        return f"[{tint.get(replica.health or '', 'default')}]{replica.health or 'running'}[/]"
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


class LinePrinter:
    """Prints log lines, with the service's name before each when there are several services."""

    def __init__(self, services: Sequence[str], timestamps: bool, colour: bool) -> None:
        self.timestamps = timestamps
        width = max((len(name) for name in services), default=0)
        self.heads = {}
        for index, name in enumerate(services):
            head = f"{name:<{width}} | " if len(services) > 1 else ""
            if colour and head:
                head = _paint(head, _SERVICE_COLOURS[index % len(_SERVICE_COLOURS)])
            self.heads[name] = head
        self.colour = colour

    def text(self, line: LogLine) -> str:
        """The line as it is shown, without its end."""
        time = f"{line.time[:23]}Z " if self.timestamps else ""
        text = line.text
        if self.colour and text.startswith("[entrypoint]"):
            text = _paint("[entrypoint]", "cyan") + text[len("[entrypoint]") :]
        return f"{time}{self.heads.get(line.service, '')}{text}"


_CODES = {"cyan": 36, "green": 32, "magenta": 35, "blue": 34, "yellow": 33, "bright_cyan": 96}


def _paint(text: str, colour: str) -> str:
    # By hand: a million lines through rich would take minutes.
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m"


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)
