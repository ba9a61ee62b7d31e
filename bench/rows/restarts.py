"""Restarts until the verdict, compared with a restart and polling by hand."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Iterator

from bench.fixtures import Fixtures, time_inv, time_shell
from bench.measure import Action, Goal, Row
from harness.stacks import Stack
from invoke_stack.judge.start import STABLE_FOR
from invoke_stack.runtimes.local import supervise


def _by_verdict(stack: Stack) -> Action:
    """Return the seconds until the verdict, without the stability window after `/ready`."""
    return lambda: time_inv(stack, "restart-backend") - STABLE_FOR


def _by_hand(stack: Stack, restart: str, last_lines: str) -> Action:
    ready = shlex.quote(f"{stack.url()}/ready")
    polling = f"until curl -sf -o /dev/null --max-time 2 {ready}; do sleep 0.02; done"
    return lambda: time_shell(f"{restart} && {polling} && {last_lines}", stack)


@contextlib.contextmanager
def compose(fixtures: Fixtures) -> Iterator[tuple[Action, Action]]:
    """Restart the backend on compose."""
    by_hand = _by_hand(
        fixtures.compose,
        "docker compose restart backend",
        "docker compose logs --tail 50 backend",
    )
    yield _by_verdict(fixtures.compose), by_hand


@contextlib.contextmanager
def local(fixtures: Fixtures) -> Iterator[tuple[Action, Action]]:
    """Restart the backend on local."""
    stack = fixtures.local
    socket = supervise.socket_path(stack.state / "run")
    client = fixtures.folder / "supervisorctl.conf"
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
        "`inv restart-backend` until its verdict (without the 2 s stability window), compose",
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
