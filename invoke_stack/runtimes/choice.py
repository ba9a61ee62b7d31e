"""Decides where the verbs work with `--runtime auto`. Pure: `select` gathers the facts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from invoke_stack.errors import OutOfReach, StackError, Unavailable
from invoke_stack.model import Presence


@dataclass(frozen=True)
class Facts:
    """What is known of this project in each runtime."""

    presence: Mapping[str, Presence | StackError]
    """By runtime, the preferred one first; the error where that could not be found out."""
    compose_obstacle: Callable[[], str]  # why `up` cannot work there; asking may take seconds
    local_obstacle: str = ""  # the same for local; empty if nothing is in the way
    last_used: str = ""  # the runtime that this checkout used last; empty if not known
    can_have_engine: bool = True
    is_engine_named: bool = False  # by the user, in the environment


@dataclass(frozen=True)
class Choice:
    """A runtime, and why it is the one."""

    runtime: str
    reason: str


def choose(facts: Facts) -> Choice:
    """Return where the project's stack is, else where it can be started.

    Raises `OutOfReach` where that is not clear, so that no empty stack is started beside another.
    """
    found = {
        name: presence
        for name, presence in facts.presence.items()
        if isinstance(presence, Presence)
    }
    running = [name for name, presence in found.items() if presence is Presence.RUNNING]
    if len(running) > 1:
        raise OutOfReach(
            f"stacks of this project are running on {' and on '.join(running)}",
            f"choose one with --runtime {running[0]}, or stop one: inv down --runtime {running[1]}",
        )
    if facts.last_used and _last_presence(facts):
        return _existing(facts, facts.last_used, "this checkout used it last; ")
    name = max(found, key=lambda each: found[each])
    if found[name]:
        return _existing(facts, name)
    return _start(facts)


def _last_presence(facts: Facts) -> Presence:
    presence = facts.presence[facts.last_used]
    if isinstance(presence, Unavailable):
        other = "" if facts.local_obstacle else "; or work without that stack: --runtime local"
        raise Unavailable(
            f"this checkout used {facts.last_used} last, and {presence.message}",
            f"{presence.hint}{other}",
        )
    if isinstance(presence, StackError):
        raise presence
    return presence


_STATES = {
    Presence.RUNNING: "its stack is up",
    Presence.STOPPED: "its stack is stopped",
    Presence.DATA: "it has the data of this project",
}


def _existing(facts: Facts, name: str, reason: str = "") -> Choice:
    presence = facts.presence[name]
    assert isinstance(presence, Presence)
    notes = [reason + _STATES[presence]]
    for other, there in facts.presence.items():
        if other != name and there is Presence.RUNNING:
            notes.append(f"another one is up on {other}")
    docker = facts.presence["compose"]
    if isinstance(docker, Unavailable) and facts.can_have_engine:
        notes.append(f"whether another one is up is not known: {docker.message}")
    return Choice(name, "; ".join(notes))


def _start(facts: Facts) -> Choice:
    """Return where a first stack can be started."""
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
        return Choice("compose", "an engine answers and the images can be had")
    if facts.local_obstacle:
        raise OutOfReach(obstacle, "see that the engine can pull or build it")
    return Choice("local", obstacle)
