"""Decides which runtime `--runtime auto` means. Pure: `select` collects the facts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from invoke_stack.errors import OutOfReach, StackError, Unavailable
from invoke_stack.model import Presence

_DESCRIPTIONS = {
    Presence.RUNNING: "its stack is up",
    Presence.STOPPED: "its stack is stopped",
    Presence.DATA: "it has the data of this project",
}


@dataclass(frozen=True)
class ChoiceFacts:
    """What the choice depends on: this project's stack in each runtime, and this machine."""

    presence: Mapping[str, Presence | StackError]
    """By runtime, the preferred one first; an error if the runtime could not be queried."""
    compose_obstacle: Callable[[], str]  # why `up` cannot use compose; a call may take seconds
    local_obstacle: str = ""  # the same for local; empty if there is none
    last_used: str = ""  # the runtime that this checkout used last; empty if unknown
    can_have_engine: bool = True
    is_engine_named: bool = False  # by the user, in the environment


@dataclass(frozen=True)
class Choice:
    """A runtime, and why it was chosen."""

    runtime: str
    reason: str


def choose(facts: ChoiceFacts) -> Choice:
    """Return the runtime that has the project's stack, else the one to start it in.

    Raises `OutOfReach` if that is ambiguous, so that no second, empty stack is ever started.
    """
    presences = {
        name: presence
        for name, presence in facts.presence.items()
        if isinstance(presence, Presence)
    }
    running = [name for name, presence in presences.items() if presence is Presence.RUNNING]
    if len(running) > 1:
        raise OutOfReach(
            f"stacks of this project are running on {' and on '.join(running)}",
            f"choose one with --runtime {running[0]}, or stop one: inv down --runtime {running[1]}",
        )
    if facts.last_used and _last_presence(facts):
        return _choose_existing(facts, facts.last_used, "this checkout used it last; ")
    name = max(presences, key=lambda runtime: presences[runtime])
    if presences[name]:
        return _choose_existing(facts, name)
    return _choose_first(facts)


def _last_presence(facts: ChoiceFacts) -> Presence:
    presence = facts.presence[facts.last_used]
    if isinstance(presence, Unavailable):
        alternative = "" if facts.local_obstacle else "; or work without it: --runtime local"
        raise Unavailable(
            f"this checkout used {facts.last_used} last, and {presence.message}",
            f"{presence.hint}{alternative}",
        )
    if isinstance(presence, StackError):
        raise presence
    return presence


def _choose_existing(facts: ChoiceFacts, name: str, reason: str = "") -> Choice:
    presence = facts.presence[name]
    assert isinstance(presence, Presence)
    notes = [reason + _DESCRIPTIONS[presence]]
    for other, other_presence in facts.presence.items():
        if other != name and other_presence is Presence.RUNNING:
            notes.append(f"another one is up on {other}")
    compose = facts.presence["compose"]
    if isinstance(compose, Unavailable) and facts.can_have_engine:
        notes.append(f"cannot check for another one: {compose.message}")
    return Choice(name, "; ".join(notes))


def _choose_first(facts: ChoiceFacts) -> Choice:
    """Return the runtime to start the project's first stack in."""
    compose = facts.presence["compose"]
    if isinstance(compose, Unavailable):
        if facts.is_engine_named or facts.local_obstacle:
            raise compose
        return Choice("local", compose.message)
    if isinstance(compose, StackError):
        raise compose
    try:
        obstacle = facts.compose_obstacle()
    except StackError as error:
        if facts.local_obstacle:
            raise
        obstacle = error.message
    if not obstacle:
        return Choice("compose", "an engine answers and the images are available")
    if facts.local_obstacle:
        raise OutOfReach(obstacle, "make sure that the engine can pull or build it")
    return Choice("local", obstacle)
