"""Prints a health check, and the verdict on a restart, in a few lines each."""

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


def print_health(console: Console, health: Health, runtime: str) -> None:
    """Print the state of a replica in one line, then its details and the address checked."""
    colour, sign = STATE_STYLE[health.state]
    reason = f": {health.reason}" if health.reason else ""
    name = health.service if health.replica in ("", health.service) else health.replica
    console.print(f"[{colour}]{sign} {escape(name)} is {health.state}[/]{escape(reason)}")
    if health.details:
        version = escape(str(health.body.get("version") or "unknown"))
        console.print(f"  {format_details(health)} · version {version}")
    latency = f" in {health.latency_ms:.0f} ms" if health.latency_ms is not None else ""
    unknown = health.state is State.UNKNOWN
    address = health.url or ("not checked" if unknown else "its own health check")
    route = " through the engine" if health.through_engine else ""
    source = ", ".join(filter(None, (f"{address}{route}{latency}", runtime)))
    console.print(f"  [dim]{escape(source)}[/]")


def format_details(health: Health) -> str:
    """Return the facts of a health body in one line, as Rich markup."""
    colours = {True: "green", False: "red"}
    parts = []
    for label, value, is_good in health.details:
        text = escape(value)
        parts.append(
            f"{escape(label)} " + (text if is_good is None else f"[{colours[is_good]}]{text}[/]")
        )
    return " · ".join(parts)


def print_verdict(console: Console, verdict: Verdict) -> None:
    """Print the verdict on a restart: outcome, phases, health, reason, log lines and next step."""
    colour, sign = _OUTCOME_STYLE[verdict.outcome]
    name = verdict.service if verdict.replica == verdict.service else verdict.replica
    seconds = verdict.total_seconds
    outcome_text = {
        Outcome.HEALTHY: f"is healthy after {seconds:.1f} s",
        Outcome.DEGRADED: f"is degraded after {seconds:.1f} s",
        Outcome.UNKNOWN: f"was restarted, but its state is unknown after {seconds:.1f} s",
        Outcome.FAILED: f"failed after {seconds:.1f} s",
        Outcome.TIMEOUT: f"is still not ready after {seconds:.0f} s",
    }[verdict.outcome]
    console.print(f"[bold][{colour}]{sign} {escape(name)} {outcome_text}[/][/]")
    for phase in verdict.phases:
        attempts = f"{phase.attempts} attempt{'s' if phase.attempts != 1 else ''}"
        outcome = phase.outcome or "not finished"
        failed = outcome in (*FAILURES, "not finished")
        tint = "red" if failed else "green"
        head = escape(f"{phase.name:<12}{phase.seconds:6.1f} s  {attempts:<11} ")
        console.print(f"  {head}[{tint}]{escape(outcome)}[/]")
    if verdict.health and verdict.health.details:
        console.print(f"  {format_details(verdict.health)}")
    if verdict.reason:
        _print_field(console, "reason", verdict.reason)
    if verdict.evidence:
        console.print("  [bold]last log lines[/]")
        for line in verdict.evidence:
            console.print(f"    {escape(line.text)}", soft_wrap=True, highlight=False)
    if verdict.remedy:
        _print_field(console, "next", verdict.remedy)


def _print_field(console: Console, label: str, text: str) -> None:
    """Print a label and its text; wrapped lines keep the indentation."""
    console.print(Padding(f"[bold]{label}[/]  {escape(text)}", (0, 0, 0, 2), expand=False))
