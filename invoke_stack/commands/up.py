"""Bring the stack up and wait until every service is ready."""

from __future__ import annotations

import time
from collections.abc import Iterable

from invoke_stack.commands import logs
from invoke_stack.commands.restart import Clock
from invoke_stack.commands.session import Session
from invoke_stack.errors import NotHealthy
from invoke_stack.judge import causes
from invoke_stack.model import Replica
from invoke_stack.runtimes.base import Runtime

POLL_EVERY = 0.1  # seconds
REPORT_EVERY = 5.0  # seconds between two progress messages
TAIL = 200  # lines that are searched for the cause of an exit
RESTARTS = 3  # a service that restarts this often while we wait will not become ready by itself


def bring_up(
    session: Session, *, build: bool, remove_orphans: bool, timeout: float
) -> list[Replica]:
    """Start what is not running, recreate what changed, and wait as `wait_until_ready` does."""
    with session.locked("up"):
        session.runtime.up(build=build, remove_orphans=remove_orphans, say=session.say)
        return wait_until_ready(session, timeout=timeout)


def wait_until_ready(session: Session, *, timeout: float, clock: Clock = time) -> list[Replica]:
    """Wait until every service is ready by its own health check; return the replicas.

    Ignores orphans. Raises `NotHealthy` after `timeout` seconds, and at once if waiting longer
    cannot help.
    """
    runtime, say = session.runtime, session.say
    expected, rollback_reason = runtime.expected_services(), runtime.capabilities.rollback_reason
    begin = reported_at = clock.monotonic()
    ready: set[str] = set()
    first_restarts: dict[str, int] = {}  # by replica: its restarts at the first poll
    while True:
        services = [name for name in runtime.services() if name in expected]
        for name in services:
            if rollback_reason and (reason := rollback_reason(name)):
                raise NotHealthy(
                    f"{name}: {reason}", f"the previous version is running; see: inv logs {name}"
                )
        replicas = [replica for replica in runtime.replicas() if replica.service in expected]
        waiting = [replica for replica in replicas if not is_ready(replica)]
        now = clock.monotonic()
        for name in services:
            if name not in ready and name not in {replica.service for replica in waiting}:
                ready.add(name)
                say(f"{name}: ready after {now - begin:.1f} s")
        if not waiting:
            return replicas
        for replica in waiting:
            first_restarts.setdefault(replica.replica, replica.restarts)
            _raise_if_hopeless(session, replica, first_restarts[replica.replica])
        if now - begin > timeout:
            raise NotHealthy(
                f"not ready within {timeout:g} s: {_reasons(waiting)}",
                f"see: inv logs {waiting[0].service}",
            )
        if now - reported_at >= REPORT_EVERY:
            reported_at = now
            remaining = timeout - (now - begin)
            say(f"waiting {now - begin:.0f} s, {remaining:.0f} s left, for {_reasons(waiting)}")
        time.sleep(POLL_EVERY)


def is_ready(replica: Replica) -> bool:
    """Return True if the replica is running and its health check, if any, passes."""
    return replica.running and replica.health in ("healthy", None)


def _reasons(replicas: Iterable[Replica]) -> str:
    return "; ".join(
        f"{replica.replica}: {replica.reason or replica.health or replica.status}"
        for replica in replicas
    )


def _raise_if_hopeless(session: Session, replica: Replica, first_restarts: int) -> None:
    fatal_reason = session.config.profile.fatal_reason
    if not replica.running and replica.restarts - first_restarts >= RESTARTS:
        raise NotHealthy(
            f"{replica.replica} keeps restarting: {_exit_cause(session.runtime, replica)}",
            f"see: inv logs {replica.service}",
        )
    is_main = replica.service == session.config.service
    if is_main and fatal_reason and fatal_reason in replica.reason:
        raise NotHealthy(
            f"{replica.replica} is degraded: its migrations failed",
            f'see: inv logs {replica.service} --grep "entrypoint|FAILED"',
        )


def _exit_cause(runtime: Runtime, replica: Replica) -> str:
    """Return how the replica ended, and the log line that names the cause."""
    lines = logs.last_lines(runtime, replica.service, TAIL)
    line = causes.find_cause([line.text for line in causes.last_minute(lines)], has_ended=True)
    return ": ".join(filter(None, (replica.reason, *line)))
