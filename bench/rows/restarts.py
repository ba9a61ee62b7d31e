"""Restarts to a verdict, against a restart and polling by hand."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Iterator

from bench.measure import Action, Goal, Row
from bench.place import Place, inv, shell
from harness.stacks import Stack
from invoke_stack.judge.start import STABLE_FOR
from invoke_stack.runtimes.local import supervise


def _by_verdict(stack: Stack) -> Action:
    """Seconds to the verdict, without those in which it only watches whether the start lasts."""
    return lambda: inv(stack, "restart-backend") - STABLE_FOR


def _by_hand(stack: Stack, restart: str, last_lines: str) -> Action:
    ready = shlex.quote(f"{stack.url()}/ready")
    polling = f"until curl -sf -o /dev/null --max-time 2 {ready}; do sleep 0.02; done"
    return lambda: shell(f"{restart} && {polling} && {last_lines}", stack)


@contextlib.contextmanager
def compose(place: Place) -> Iterator[tuple[Action, Action]]:
    by_hand = _by_hand(
        place.compose,
        "docker compose restart backend",
        "docker compose logs --tail 50 backend",
    )
    yield _by_verdict(place.compose), by_hand


@contextlib.contextmanager
def local(place: Place) -> Iterator[tuple[Action, Action]]:
    stack = place.local
    socket = supervise.socket_path(stack.state / "run")
    client = place.folder / "supervisorctl.conf"
    client.write_text(f"[supervisorctl]\nserverurl=unix://{socket}\n", "utf-8")
    by_hand = _by_hand(
        stack,
        shlex.join([sys.executable, "-m", "supervisor.supervisorctl", "-c", str(client)])
        + " restart backend",
        "tail -n 50 .local/logs/backend.log",
    )
    yield _by_verdict(stack), by_hand


ROWS = (
    Row(
        "restart-compose",
        "`inv restart-backend` to its verdict (without its 2 s of watching), compose",
        "`docker compose restart backend`, curl of `/ready` every 20 ms, `docker compose logs --tail 50`",
        Goal(1.1),
        compose,
    ),
    Row(
        "restart-local",
        "the same on local",
        "`supervisorctl restart backend`, curl of `/ready` every 20 ms, `tail -n 50`",
        Goal(1.0),
        local,
    ),
)
