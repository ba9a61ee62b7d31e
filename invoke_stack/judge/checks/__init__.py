"""Finds what is wrong with a stack, and names what mends it. Nothing is ever changed.

`gather` collects the facts, each check decides on them. A check is a function from the facts to
findings; it raises `NotKnown` when it cannot be made. Its module says what it is about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from invoke_stack.judge.checks import checkout, commands, place, services, settings
from invoke_stack.judge.checks.facts import Facts, NotKnown
from invoke_stack.model import Checkup, Finding


@dataclass(frozen=True)
class Check:
    """One kind of cause that is looked for."""

    name: str
    look: Callable[[Facts], Iterable[Finding]]
    own: bool = False  # deal-scout's alone, left out for other projects


def punctual(facts: Facts) -> Iterator[Finding]:
    """Everything that was asked answered in time."""
    if facts.late:
        what = f"no answer in time from: {', '.join(facts.late)}"
        asked = "docker info" if facts.runtime != "local" else "inv status"
        yield Finding(
            what, (), f"see whether this machine is overloaded, or one of them hangs: {asked}"
        )


CHECKS = (
    Check("context", place.context),
    Check("engine", place.engine),
    Check("compose", place.compose),
    Check("answers", punctual),
    Check("env", settings.env),
    Check("addresses", settings.addresses, own=True),
    Check("project", place.project),
    Check("ports", place.ports),
    Check("disk", place.disks),
    Check("clock", place.clock),
    Check("entrypoint", checkout.entrypoint, own=True),
    Check("revisions", checkout.revisions, own=True),
    Check("alembic-cmd", commands.alembic, own=True),
    Check("uvicorn-cmd", commands.uvicorn, own=True),
    Check("running", services.running),
    Check("memory", services.memory),
    Check("restarts", services.restarts),
    Check("probes", services.probes),
    Check("health", services.health),
    Check("heartbeats", services.heartbeats, own=True),
    Check("schema", services.schema, own=True),
    Check("configuration", services.configuration),
    Check("signals", services.signals, own=True),
    Check("grace", services.grace, own=True),
)


def examine(facts: Facts) -> list[Checkup]:
    """Make every check that applies to this project."""
    return [_made(check, facts) for check in CHECKS if facts.own or not check.own]


def _made(check: Check, facts: Facts) -> Checkup:
    try:
        return Checkup(check.name, tuple(check.look(facts)))
    except NotKnown as why:
        return Checkup(check.name, skipped=str(why))
