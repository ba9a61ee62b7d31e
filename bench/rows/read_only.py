"""Verbs that only read: `inv health` and `inv status`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from bench.fixtures import Fixtures, time_command, time_inv, time_shell
from bench.measure import Action, Goal, Row
from harness.stacks import Stack

PS = "docker compose ps --format json"
PS_AND_INSPECT = "docker compose ps; docker inspect $(docker compose ps --quiet)"


def _compare_with_ps(fixtures: Fixtures, stack: Stack) -> tuple[Action, Action]:
    return lambda: time_inv(stack, "health", "--json"), lambda: time_shell(PS, fixtures.compose)


def _compare_with_invoke(fixtures: Fixtures, stack: Stack) -> tuple[Action, Action]:
    """Compare `inv health` with Invoke alone: `inv --list` of an empty tasks.py."""
    bare = Stack(fixtures.empty, "none", stack.environment)
    return (
        lambda: time_inv(stack, "health", "--json"),
        lambda: time_command(bare.command("--list"), bare, code=1),  # there are no tasks
    )


@contextlib.contextmanager
def health_local(fixtures: Fixtures) -> Iterator[tuple[Action, Action]]:
    """Time `inv health` on local, compared with `docker compose ps`."""
    yield _compare_with_ps(fixtures, fixtures.local)


@contextlib.contextmanager
def health_compose(fixtures: Fixtures) -> Iterator[tuple[Action, Action]]:
    """Time `inv health` on compose, compared with `docker compose ps`."""
    yield _compare_with_ps(fixtures, fixtures.compose)


@contextlib.contextmanager
def health_local_bare(fixtures: Fixtures) -> Iterator[tuple[Action, Action]]:
    """Time `inv health` on local, compared with Invoke alone."""
    yield _compare_with_invoke(fixtures, fixtures.local)


@contextlib.contextmanager
def health_compose_bare(fixtures: Fixtures) -> Iterator[tuple[Action, Action]]:
    """Time `inv health` on compose, compared with Invoke alone."""
    yield _compare_with_invoke(fixtures, fixtures.compose)


@contextlib.contextmanager
def status(fixtures: Fixtures) -> Iterator[tuple[Action, Action]]:
    """Time `inv status` on compose, compared with `docker compose ps` and `docker inspect`."""
    yield (
        lambda: time_inv(fixtures.compose, "status"),
        lambda: time_shell(PS_AND_INSPECT, fixtures.compose),
    )


_HEALTH = "`inv health --json`"
_BARE = "`inv --list` of an empty tasks.py"
ROWS = (
    Row("health-local", f"{_HEALTH}, local", f"`{PS}`", Goal(2.0), health_local),
    Row("health-compose", f"{_HEALTH}, compose", f"`{PS}`", Goal(3.0), health_compose),
    Row("health-local-bare", f"{_HEALTH}, local", _BARE, Goal(1.7), health_local_bare),
    Row("health-compose-bare", f"{_HEALTH}, compose", _BARE, Goal(3.0), health_compose_bare),
    Row("status", "`inv status`, compose", f"`{PS_AND_INSPECT}`", Goal(2.0), status),
)
