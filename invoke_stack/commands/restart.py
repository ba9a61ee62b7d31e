"""Restarts a service and gives a verdict on its new start."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from invoke_stack.commands.health import check_replica
from invoke_stack.commands.session import Session
from invoke_stack.judge.start import Criteria, StartJudge
from invoke_stack.model import LogLine, Outcome, Replica, Verdict
from invoke_stack.profile.readiness import CONTAINER_CHECK
from invoke_stack.runtimes.base import Runtime

POLL_EVERY = 0.02  # seconds between two looks at the replicas
HEALTH_TIMEOUT = 2.0  # seconds
LAST_LINES = 1.0  # seconds to wait for the first line of a start that has failed


class Reporter(Protocol):
    """Who is shown what happens meanwhile."""

    def line(self, line: LogLine) -> None:
        """Show a line of the new start."""
        ...

    def waiting(self, what: str, seconds: float, limit: float) -> None:
        """Show what is being waited for, since how many seconds, and for how many at most."""
        ...

    def say(self, text: str) -> None:
        """Show anything else worth knowing."""
        ...


class Clock(Protocol):
    """Where the time comes from."""

    def monotonic(self) -> float:
        """Return seconds."""
        ...


@dataclass(frozen=True)
class Restarted:
    """The result of a restart."""

    verdicts: Sequence[Verdict]  # one for each replica
    stale: str  # why what runs is not what `up` would start, in a few words; empty if it is

    @property
    def worst(self) -> Verdict:
        """Return the verdict that the whole service is judged by."""
        return max(self.verdicts, key=lambda verdict: list(Outcome).index(verdict.outcome))


def restart_service(
    session: Session, service: str, *, timeout: float, reporter: Reporter
) -> Restarted:
    """Restart a service under the stack's lock, and judge as `restart_and_judge` does."""
    config = session.config
    criteria = Criteria(
        readiness=config.readiness if service == config.service else CONTAINER_CHECK,
        phases=config.phases,
        advice=config.profile.advice,
        stable=config.stable,
    )
    with session.changing(f"restart {service}"), ThreadPoolExecutor(1) as beside:
        stale = beside.submit(session.runtime.staleness, service)
        verdicts = restart_and_judge(
            session.runtime, service, criteria, timeout=timeout, reporter=reporter
        )
        return Restarted(verdicts, stale.result())


def restart_and_judge(
    runtime: Runtime,
    service: str,
    criteria: Criteria,
    *,
    timeout: float,
    reporter: Reporter,
    clock: Clock = time,
) -> list[Verdict]:
    """Restart a service and judge the new start of each replica, within `timeout` seconds.

    Raises `OutOfReach`.
    """
    begin = clock.monotonic()
    restart = _Restart(runtime, service, criteria, reporter, clock)
    restart.request()
    while not restart.is_decided():
        restart.read_lines()
        if clock.monotonic() - begin > timeout:
            break
        if restart.is_poll_due():
            restart.poll_replicas()
            restart.notice_rollback()
            reporter.waiting(restart.waits_for(), clock.monotonic() - begin, timeout)
    restart.raise_failed_request()
    restart.wait_for_last_lines()
    return restart.verdicts(begin, timeout)


class _Restart:
    """The steps of one restart."""

    def __init__(
        self,
        runtime: Runtime,
        service: str,
        criteria: Criteria,
        reporter: Reporter,
        clock: Clock,
    ) -> None:
        self._runtime, self._service, self._criteria = runtime, service, criteria
        self._audience, self._clock = reporter, clock
        self._judges: dict[str, StartJudge] = {}
        for old in runtime.replicas(service, probe=False):
            self._judges[old.replica] = self._judge(old)
        self._next_poll = clock.monotonic()
        self._lines: Iterator[LogLine | None] = runtime.follow(
            [service], tail=0, since=None, say=reporter.say
        )
        next(self._lines)  # all earlier lines are passed: from here on none is missed

    def _judge(self, old: Replica | None) -> StartJudge:
        return StartJudge(old, self._criteria, self._audience.line)

    def request(self) -> None:
        """Request the restart on a thread, because it lasts until the old process has stopped."""
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._runtime.restart(self._service)
        except Exception as error:
            self._error = error

    def raise_failed_request(self) -> None:
        """Raise what the request has raised, if it has."""
        if self._error:
            raise self._error

    def _is_answered(self) -> bool:
        self.raise_failed_request()
        return not self._thread.is_alive()

    def is_decided(self) -> bool:
        """Return True once the request has returned and every replica is judged."""
        return self._is_answered() and all(judge.outcome for judge in self._judges.values())

    def read_lines(self) -> None:
        """Hand the lines that are there now to the replicas' judges."""
        for line in self._lines:
            if line is None:
                return
            if judge := self._judges.get(line.replica):
                judge.add_line(line, self._clock.monotonic())

    def is_poll_due(self) -> bool:
        """Return True if it is time to look at the replicas again."""
        return self._clock.monotonic() >= self._next_poll

    def poll_replicas(self) -> None:
        """Look at every replica, and at its health where that decides.

        A start before the request has returned may be one that the runtime made by itself, and
        that the request is about to end.
        """
        if self._is_answered():
            needs_own_check = not self._criteria.readiness.url
            for replica in self._runtime.replicas(self._service, probe=needs_own_check):
                if replica.replica not in self._judges:
                    self._judges[replica.replica] = self._judge(None)
                judge = self._judges[replica.replica]
                if judge.add_replica(replica, self._clock.monotonic()):
                    readiness = self._criteria.readiness
                    found = check_replica(self._runtime, replica, HEALTH_TIMEOUT, readiness)
                    judge.add_health(found, self._clock.monotonic())
        self._next_poll = self._clock.monotonic() + POLL_EVERY

    def notice_rollback(self) -> None:
        """Tell the judges if the runtime has undone the restart."""
        undone = self._runtime.capabilities.undone
        if undone and self._is_answered() and (reason := undone(self._service)):
            for judge in self._judges.values():
                judge.mark_rolled_back(reason)

    def waits_for(self) -> str:
        """Return what the first undecided replica waits for."""
        return next((each.waits_for() for each in self._judges.values() if not each.outcome), "")

    def wait_for_last_lines(self) -> None:
        """Wait a moment for the lines of a process that ended at once."""
        until = self._clock.monotonic() + LAST_LINES
        while self._clock.monotonic() < until:
            if not any(judge.needs_evidence for judge in self._judges.values()):
                return
            self.read_lines()

    def verdicts(self, begin: float, timeout: float) -> list[Verdict]:
        """Return the verdict on each replica."""
        now = self._clock.monotonic()
        return [judge.verdict(begin, now, timeout) for judge in self._judges.values()]
