"""A look at the health, and the verdict on a start, as a few lines each."""

from __future__ import annotations

from typing import TYPE_CHECKING

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


def health_text(console: Console, look: Health, runtime: str) -> None:
    """The state in one line, and what is behind it in a few."""
    colour, sign = STATE_STYLE[look.state]
    detail = f" ({look.reason})" if look.reason else ""
    name = look.service if look.replica in ("", look.service) else look.replica
    console.print(f"[{colour}]{sign} {escape(name)} is {look.state}[/]{escape(detail)}")
    if look.details:
        version = escape(str(look.body.get("version") or "unknown"))
        console.print(f"  {details(look)} · version {version}")
    timing = f" in {look.latency_ms:.0f} ms" if look.latency_ms is not None else ""
    address = look.url or ("not asked" if look.state is State.UNKNOWN else "its own probe")
    way = " through the engine" if look.through_engine else ""
    asked = ", ".join(filter(None, (f"{address}{way}{timing}", runtime)))
    console.print(f"  [dim]{escape(asked)}[/]")


def details(look: Health) -> str:
    """Return the facts of its health body in one line, as Rich markup."""
    colours = {True: "green", False: "red"}
    shown = []
    for label, value, is_good in look.details:
        text = escape(value)
        shown.append(
            f"{escape(label)} " + (text if is_good is None else f"[{colours[is_good]}]{text}[/]")
        )
    return " · ".join(shown)


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
    if verdict.health and verdict.health.details:
        console.print(f"  {details(verdict.health)}")
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
