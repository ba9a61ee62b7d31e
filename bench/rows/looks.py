"""Verbs that look: `inv health` and `inv status`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from bench.measure import Action, Goal, Row
from bench.place import Place, inv, seconds, shell
from harness.stacks import Stack

PS = "docker compose ps --format json"
PS_AND_INSPECT = "docker compose ps; docker inspect $(docker compose ps --quiet)"


def _against_ps(place: Place, stack: Stack) -> tuple[Action, Action]:
    return lambda: inv(stack, "health", "--json"), lambda: shell(PS, place.compose)


def _against_nothing(place: Place, stack: Stack) -> tuple[Action, Action]:
    """Against Invoke itself: `inv --list` of an empty tasks.py."""
    bare = Stack(place.empty, "none", stack.environment)
    return (
        lambda: inv(stack, "health", "--json"),
        lambda: seconds(bare.command("--list"), bare, code=1),  # it finds no tasks
    )


@contextlib.contextmanager
def health_local(place: Place) -> Iterator[tuple[Action, Action]]:
    yield _against_ps(place, place.local)


@contextlib.contextmanager
def health_compose(place: Place) -> Iterator[tuple[Action, Action]]:
    yield _against_ps(place, place.compose)


@contextlib.contextmanager
def health_local_bare(place: Place) -> Iterator[tuple[Action, Action]]:
    yield _against_nothing(place, place.local)


@contextlib.contextmanager
def health_compose_bare(place: Place) -> Iterator[tuple[Action, Action]]:
    yield _against_nothing(place, place.compose)


@contextlib.contextmanager
def status(place: Place) -> Iterator[tuple[Action, Action]]:
    yield lambda: inv(place.compose, "status"), lambda: shell(PS_AND_INSPECT, place.compose)


_HEALTH = "`inv health --json`"
_BARE = "`inv --list` of an empty tasks.py"
ROWS = (
    Row("health-local", f"{_HEALTH}, local", f"`{PS}`", Goal(2.0), health_local),
    Row("health-compose", f"{_HEALTH}, compose", f"`{PS}`", Goal(3.0), health_compose),
    Row("health-local-bare", f"{_HEALTH}, local", _BARE, Goal(1.7), health_local_bare),
    Row("health-compose-bare", f"{_HEALTH}, compose", _BARE, Goal(3.0), health_compose_bare),
    Row("status", "`inv status`, compose", f"`{PS_AND_INSPECT}`", Goal(2.0), status),
)
