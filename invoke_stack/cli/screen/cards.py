"""A look at the health, and the verdict on a start, as a few lines each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.padding import Padding

from invoke_stack.model import FAILURES, Health, Outcome, State, Verdict

if TYPE_CHECKING:
    from rich.console import Console

STATE_STYLE = {
    State.HEALTHY: ("green", "✓"),
    State.DEGRADED: ("yellow", "!"),
    State.STARTING: ("cyan", "…"),
    State.UNKNOWN: ("magenta", "?"),
    State.UNHEALTHY: ("red", "✗"),
    State.UNREACHABLE: ("red", "✗"),
}
_OUTCOME_STYLE = {
    Outcome.HEALTHY: ("green", "✓"),
    Outcome.DEGRADED: ("yellow", "!"),
    Outcome.UNKNOWN: ("magenta", "?"),
    Outcome.FAILED: ("red", "✗"),
    Outcome.TIMEOUT: ("red", "✗"),
}


def health_text(console: Console, look: Health, why: str, runtime: str) -> None:
    """The state in one line, and what is behind it in a few."""
    colour, sign = STATE_STYLE[look.state]
    detail = f" ({why})" if why else ""
    name = look.service if look.replica in ("", look.service) else look.replica
    console.print(f"[{colour}]{sign} {escape(name)} is {look.state}[/]{escape(detail)}")
    if "db" in look.body:
        console.print(f"  {facts(look.body)} · version {_known(look.body.get('version'))}")
    timing = f" in {look.latency_ms:.0f} ms" if look.latency_ms is not None else ""
    address = look.url or ("not asked" if look.state is State.UNKNOWN else "its own probe")
    way = " through the engine" if look.through_engine else ""
    asked = ", ".join(filter(None, (f"{address}{way}{timing}", runtime)))
    console.print(f"  [dim]{escape(asked)}[/]")


def facts(body: Mapping[str, Any]) -> str:
    facts = (
        f"DB {_yes(body.get('db'))}",
        f"Redis {_yes(body.get('redis'))}",
        f"queue {_known(body.get('queue_depth'))}",
        f"schema {_known(body.get('migrations'))}",
    )
    return " · ".join(facts)


def _yes(value: Any) -> str:
    return "[green]ok[/]" if value else "[red]down[/]"


def _known(value: Any) -> str:
    return "unknown" if value is None else escape(str(value))


def verdict_text(console: Console, verdict: Verdict) -> None:
    """The card at the end of a restart."""
    colour, sign = _OUTCOME_STYLE[verdict.outcome]
    name = verdict.service if verdict.replica == verdict.service else verdict.replica
    said = {
        Outcome.HEALTHY: f"is healthy after {verdict.total_seconds:.1f} s",
        Outcome.DEGRADED: f"serves, but degraded, after {verdict.total_seconds:.1f} s",
        Outcome.UNKNOWN: f"was restarted, and its state is unknown after {verdict.total_seconds:.1f} s",
        Outcome.FAILED: f"failed after {verdict.total_seconds:.1f} s",
        Outcome.TIMEOUT: f"is still not ready after {verdict.total_seconds:.0f} s",
    }[verdict.outcome]
    console.print(f"[bold][{colour}]{sign} {escape(name)} {said}[/][/]")
    for phase in verdict.phases:
        tries = f"{phase.attempts} attempt{'s' if phase.attempts != 1 else ''}"
        outcome = phase.outcome or "not finished"
        bad = outcome in (*FAILURES, "not finished")
        tint = "red" if bad else "green"
        head = escape(f"{phase.name:<12}{phase.seconds:6.1f} s  {tries:<11} ")
        console.print(f"  {head}[{tint}]{escape(outcome)}[/]")
    if verdict.health and "db" in verdict.health.body:
        console.print(f"  {facts(verdict.health.body)}")
    if verdict.reason:
        _told(console, "why", verdict.reason)
    if verdict.evidence:
        console.print("  [bold]its last lines[/]")
        for line in verdict.evidence:
            console.print(f"    {escape(line.text)}", soft_wrap=True, highlight=False)
    if verdict.remedy:
        _told(console, "now", verdict.remedy)


def _told(console: Console, what: str, text: str) -> None:
    """One part of the card; its further lines stand as far to the right as the first."""
    console.print(Padding(f"[bold]{what}[/]  {escape(text)}", (0, 0, 0, 2), expand=False))
