"""Waiting for the stack: until every service is ready, telling for which and why."""

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

LOOK_EVERY = 0.1  # seconds
TELL_EVERY = 5.0  # seconds
TAIL = 200  # lines in which the cause of an end is looked for
RESTARTS = 3  # after so many while we wait, a service that does not run will not come up by waiting


def bring_up(
    session: Session, *, build: bool, remove_orphans: bool, timeout: float
) -> list[Replica]:
    """Start what does not run, recreate what changed, and wait as `wait_until_ready` does."""
    with session.changing("up"):
        session.runtime.up(build=build, remove_orphans=remove_orphans, say=session.say)
        return wait_until_ready(session, timeout=timeout)


def wait_until_ready(session: Session, *, timeout: float, clock: Clock = time) -> list[Replica]:
    """Wait until every service is ready by its own health check; return the replicas.

    Orphans are left out. Raises `NotHealthy` after `timeout` seconds, and at once for what waiting
    will not fix.
    """
    runtime, say = session.runtime, session.say
    wanted, undone = runtime.expected_services(), runtime.capabilities.undone
    begin = told = clock.monotonic()
    ready: set[str] = set()
    before: dict[str, int] = {}  # restarts of each replica when we first saw it
    while True:
        services = [name for name in runtime.services() if name in wanted]
        for name in services:
            if undone and (why := undone(name)):
                raise NotHealthy(f"{name}: {why}", f"what ran before serves; see: inv logs {name}")
        replicas = [each for each in runtime.replicas() if each.service in wanted]
        waiting = [replica for replica in replicas if not is_ready(replica)]
        now = clock.monotonic()
        for name in services:
            if name not in ready and name not in {each.service for each in waiting}:
                ready.add(name)
                say(f"{name}: ready after {now - begin:.1f} s")
        if not waiting:
            return replicas
        for replica in waiting:
            before.setdefault(replica.replica, replica.restarts)
            _give_up_on(session, replica, before[replica.replica])
        if now - begin > timeout:
            raise NotHealthy(
                f"not ready within {timeout:g} s: {_reasons(waiting)}",
                f"see: inv logs {waiting[0].service}",
            )
        if now - told >= TELL_EVERY:
            told = now
            left = timeout - (now - begin)
            say(f"waiting {now - begin:.0f} s, {left:.0f} s left, for {_reasons(waiting)}")
        time.sleep(LOOK_EVERY)


def is_ready(replica: Replica) -> bool:
    """Whether it runs, and its probe, if it has one, is content."""
    return replica.running and replica.health in ("healthy", None)


def _reasons(replicas: Iterable[Replica]) -> str:
    return "; ".join(
        f"{replica.replica}: {replica.reason or replica.health or replica.status}"
        for replica in replicas
    )


def _give_up_on(session: Session, replica: Replica, before: int) -> None:
    fatal_reason = session.config.profile.fatal_reason
    if not replica.running and replica.restarts - before >= RESTARTS:
        raise NotHealthy(
            f"{replica.replica} does not stay up: {_last_words(session.runtime, replica)}",
            f"see: inv logs {replica.service}",
        )
    is_main = replica.service == session.config.service
    if is_main and fatal_reason and fatal_reason in replica.reason:
        raise NotHealthy(
            f"{replica.replica} is degraded: its migrations failed",
            f'see: inv logs {replica.service} --grep "entrypoint|FAILED"',
        )


def _last_words(runtime: Runtime, replica: Replica) -> str:
    """How it ended, and the line in which it said why."""
    lines = logs.last(runtime, replica.service, TAIL)
    told = causes.find_cause([line.text for line in causes.last_minute(lines)], has_ended=True)
    return ": ".join(filter(None, (replica.reason, *told)))
