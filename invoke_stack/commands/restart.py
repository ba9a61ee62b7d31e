"""Restart a service and judge its new start."""

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

POLL_EVERY = 0.02  # seconds between two polls of the replicas
HEALTH_TIMEOUT = 2.0  # seconds
LAST_LINES_TIMEOUT = 1.0  # seconds to wait for the log lines of a start that has failed


class Reporter(Protocol):
    """Shows the progress of a restart."""

    def show_line(self, line: LogLine) -> None:
        """Show a line of the new start."""
        ...

    def show_progress(self, what: str, seconds: float, limit: float) -> None:
        """Show what the restart waits for, and how many of at most `limit` seconds have passed."""
        ...

    def show_notice(self, text: str) -> None:
        """Show a notice."""
        ...


class Clock(Protocol):
    """A source of time, such as the module `time`."""

    def monotonic(self) -> float:
        """Return seconds since an arbitrary moment."""
        ...


@dataclass(frozen=True)
class RestartResult:
    """The result of a restart."""

    verdicts: Sequence[Verdict]  # one for each replica
    stale: str  # why the service differs from what `up` would start; empty if it does not

    @property
    def worst(self) -> Verdict:
        """The worst verdict, which counts for the whole service."""
        return max(self.verdicts, key=lambda verdict: list(Outcome).index(verdict.outcome))


def restart_service(
    session: Session, service: str, *, timeout: float, reporter: Reporter
) -> RestartResult:
    """Restart a service under the stack's lock, and judge it as `restart_and_judge` does.

    Raises `OutOfReach`.
    """
    config = session.config
    criteria = Criteria(
        readiness=config.readiness if service == config.service else CONTAINER_CHECK,
        phases=config.phases,
        advice=config.profile.advice,
        stable=config.stable,
    )
    with session.locked(f"restart {service}"), ThreadPoolExecutor(1) as pool:
        stale = pool.submit(session.runtime.staleness, service)
        verdicts = restart_and_judge(
            session.runtime, service, criteria, timeout=timeout, reporter=reporter
        )
        return RestartResult(verdicts, stale.result())


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
    try:
        while not restart.is_decided():
            restart.read_lines()
            if clock.monotonic() - begin > timeout:
                break
            if restart.is_poll_due():
                restart.poll_replicas()
                restart.check_rollback()
                reporter.show_progress(restart.waits_for(), clock.monotonic() - begin, timeout)
    except (KeyboardInterrupt, SystemExit):
        reporter.show_notice(
            f"the restart of {service} was requested and continues; see: inv status"
        )
        raise
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
        self._reporter, self._clock = reporter, clock
        self._judges: dict[str, StartJudge] = {}
        for old in runtime.replicas(service, probe=False):
            self._judges[old.replica] = self._judge(old)
        self._next_poll = clock.monotonic()
        self._lines: Iterator[LogLine | None] = runtime.follow(
            [service], tail=0, since=None, say=reporter.show_notice
        )
        next(self._lines)  # skips the earlier lines; no line is missed from here on

    def _judge(self, old: Replica | None) -> StartJudge:
        return StartJudge(old, self._criteria, self._reporter.show_line)

    def request(self) -> None:
        """Request the restart on a thread: the call may block until the new process has started."""
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._runtime.restart(self._service)
        except Exception as error:
            self._error = error

    def raise_failed_request(self) -> None:
        """Raise the error of the request, if it failed."""
        if self._error:
            raise self._error

    def _has_returned(self) -> bool:
        self.raise_failed_request()
        return not self._thread.is_alive()

    def is_decided(self) -> bool:
        """Return True once the request has returned and every replica is judged."""
        return self._has_returned() and all(judge.outcome for judge in self._judges.values())

    def read_lines(self) -> None:
        """Pass the new log lines to the judges of their replicas."""
        for line in self._lines:
            if line is None:
                return
            if judge := self._judges.get(line.replica):
                judge.add_line(line, self._clock.monotonic())

    def is_poll_due(self) -> bool:
        """Return True if it is time to poll the replicas again."""
        return self._clock.monotonic() >= self._next_poll

    def poll_replicas(self) -> None:
        """Poll every replica, and its health if its judge needs that.

        Does nothing until the request has returned: an earlier start may be one that the runtime
        made by itself and that the request is about to stop.
        """
        if self._has_returned():
            needs_own_check = not self._criteria.readiness.url
            for replica in self._runtime.replicas(self._service, probe=needs_own_check):
                if replica.replica not in self._judges:
                    self._judges[replica.replica] = self._judge(None)
                judge = self._judges[replica.replica]
                if judge.add_replica(replica, self._clock.monotonic()):
                    readiness = self._criteria.readiness
                    health = check_replica(self._runtime, replica, HEALTH_TIMEOUT, readiness)
                    judge.add_health(health, self._clock.monotonic())
        self._next_poll = self._clock.monotonic() + POLL_EVERY

    def check_rollback(self) -> None:
        """Fail the start of every replica if the runtime rolled the restart back."""
        rollback_reason = self._runtime.capabilities.rollback_reason
        if rollback_reason and self._has_returned() and (reason := rollback_reason(self._service)):
            for judge in self._judges.values():
                judge.mark_rolled_back(reason)

    def waits_for(self) -> str:
        """Return what the first undecided replica is waiting for."""
        return next((judge.waits_for() for judge in self._judges.values() if not judge.outcome), "")

    def wait_for_last_lines(self) -> None:
        """Wait for the log lines of a process that ended at once, at most `LAST_LINES_TIMEOUT`."""
        deadline = self._clock.monotonic() + LAST_LINES_TIMEOUT
        while self._clock.monotonic() < deadline:
            if not any(judge.needs_evidence for judge in self._judges.values()):
                return
            self.read_lines()

    def verdicts(self, begin: float, timeout: float) -> list[Verdict]:
        """Return the verdict on each replica; `begin` is when the restart was requested."""
        now = self._clock.monotonic()
        return [judge.verdict(begin, now, timeout) for judge in self._judges.values()]
