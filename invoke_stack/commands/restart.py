"""The restart story: ask, follow the new start, wait, judge."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from invoke_stack import timestamps
from invoke_stack.commands import health
from invoke_stack.commands.session import Session
from invoke_stack.judge import boot
from invoke_stack.model import (
    Health,
    LogLine,
    Outcome,
    Phase,
    Replica,
    State,
    Status,
    Verdict,
)
from invoke_stack.profile.phases import Script
from invoke_stack.profile.readiness import OWN_CHECK, Readiness
from invoke_stack.runtimes.base import Runtime

STABLE_FOR = 2.0  # seconds that a ready replica must stay up before it is called healthy
STABLE_UNCHECKED = 5.0  # seconds for one that nothing checks: that it runs is all that is known
SETTLE_FOR = 10.0  # seconds that a serving replica may be unhealthy before its start has failed
PROBE_EVERY = 0.02  # seconds between two looks
PROBE_TIMEOUT = 2.0  # seconds
LAST_WORDS = 1.0  # seconds to wait for what a failed start has said
EVIDENCE = 12  # lines of the new start that a failure shows
_NOT_SERVING = (State.STARTING, State.UNKNOWN, State.UNREACHABLE)


class Audience(Protocol):
    """Who is told what happens meanwhile."""

    def line(self, line: LogLine) -> None:
        """A line of the new start."""
        ...

    def waiting(self, what: str, seconds: float, limit: float) -> None:
        """What is being waited for, since how many seconds, and for how many at most."""
        ...

    def say(self, text: str) -> None:
        """Something else to know."""
        ...


class Clock(Protocol):
    """Where the story takes its time from."""

    def monotonic(self) -> float:
        """Seconds."""
        ...


@dataclass(frozen=True)
class Restarted:
    """What became of a restart."""

    verdicts: Sequence[Verdict]  # one for each replica
    stale: str  # why what runs is not what `up` would start, in a few words; empty if it is

    @property
    def worst(self) -> Verdict:
        """The verdict that the whole service is judged by."""
        return max(self.verdicts, key=lambda verdict: list(Outcome).index(verdict.outcome))


def restart(session: Session, service: str, *, timeout: float, audience: Audience) -> Restarted:
    """Restart a service under the stack's lock, and judge as `restart_and_judge` does."""
    config = session.config
    with session.changing(f"restart {service}"), ThreadPoolExecutor(1) as beside:
        stale = beside.submit(session.runtime.staleness, service)
        verdicts = restart_and_judge(
            session.runtime,
            service,
            readiness=config.readiness if service == config.service else OWN_CHECK,
            timeout=timeout,
            audience=audience,
            script=config.phases,
            advice=config.profile.advice,
            stable=config.stable,
        )
        return Restarted(verdicts, stale.result())


def restart_and_judge(
    runtime: Runtime,
    service: str,
    *,
    readiness: Readiness,
    timeout: float,
    audience: Audience,
    script: Script,
    advice: Mapping[str, str],
    stable: float = 0.0,
    clock: Clock = time,
) -> list[Verdict]:
    """Restart a service and judge the new start of each replica, within `timeout` seconds.

    What the old process says or answers never counts. A replica is ready when `readiness` says so.
    `script` tells which lines begin and end its phases, `advice` what to do if one fails. It must stay ready for `stable` seconds; 0 means
    STABLE_FOR, or STABLE_UNCHECKED where nothing checks it. Raises `OutOfReach`.
    """
    begin = clock.monotonic()
    before = {old.replica: old for old in runtime.replicas(service, probe=False)}
    lines = runtime.follow([service], tail=0, since=None, say=audience.say)
    next(lines)  # the present has been reached: from here on no line is missed
    request = _Request(runtime, service)
    watches = {name: _Watch(old, readiness, script, stable, advice) for name, old in before.items()}
    next_look = begin
    while not (request.done() and all(watch.verdict for watch in watches.values())):
        _listen(lines, watches, audience, clock)
        now = clock.monotonic()
        if now - begin > timeout:
            request.done()
            break
        if now < next_look:
            continue
        # A start before the request is answered may be one that the runtime made by itself, and
        # that the request is about to end.
        answered = request.done()
        for replica in runtime.replicas(service, probe=not readiness.url) if answered else ():
            if replica.replica not in watches:
                watches[replica.replica] = _Watch(None, readiness, script, stable, advice)
            watches[replica.replica].look(replica, runtime, audience, clock)
        undone = runtime.capabilities.undone
        if answered and undone and (why := undone(service)):
            for watch in watches.values():
                watch.undo(why)
        next_look = clock.monotonic() + PROBE_EVERY
        waited_for = next((w.waits_for() for w in watches.values() if not w.verdict), "")
        audience.waiting(waited_for, now - begin, timeout)
    # The last words of a process that ended at once may still be on their way.
    until = clock.monotonic() + LAST_WORDS
    while any(watch.is_silent for watch in watches.values()) and clock.monotonic() < until:
        _listen(lines, watches, audience, clock)
    return [watch.judge(begin, clock.monotonic(), timeout) for watch in watches.values()]


def _listen(
    lines: Iterator[LogLine | None],
    watches: Mapping[str, _Watch],
    audience: Audience,
    clock: Clock,
) -> None:
    """Hear what there is to hear now."""
    for line in lines:
        if line is None:
            return
        if watch := watches.get(line.replica):
            watch.hear(line, audience, clock)


class _Request:
    """The restart itself, in a thread, because it lasts as long as the old process takes to stop."""

    def __init__(self, runtime: Runtime, service: str) -> None:
        self.error: Exception | None = None
        self.thread = threading.Thread(target=self._ask, args=(runtime, service), daemon=True)
        self.thread.start()

    def _ask(self, runtime: Runtime, service: str) -> None:
        try:
            runtime.restart(service)
        except Exception as error:
            self.error = error

    def done(self) -> bool:
        if self.error:
            raise self.error
        return not self.thread.is_alive()


class _Watch:
    """One replica, from the moment that the restart was asked for."""

    def __init__(
        self,
        old: Replica | None,
        readiness: Readiness,
        script: Script,
        stable: float,
        advice: Mapping[str, str],
    ) -> None:
        self.old = old
        self.readiness = readiness
        self.advice = advice
        self.stable = stable or STABLE_FOR
        self.is_stable_configured = bool(stable)
        self.new: Replica | None = None  # as it was when its new start was first seen
        self.verdict: Outcome | None = None
        self.reason = ""
        self.health: Health | None = None
        self.story = boot.BootStory(script)
        self.early: list[LogLine] = []  # heard before the new start was seen
        self.heard: deque[LogLine] = deque(maxlen=EVIDENCE)
        self.heard_in: dict[str, deque[LogLine]] = {}  # the last lines of each phase
        self.announced: float | None = None  # when the application's marker was heard
        self.state_since = (State.UNREACHABLE, 0.0)
        self.serves_since: float | None = None  # when the application was first seen to answer
        self.ended_at: float | None = None  # when the last look showed what the verdict says

    @property
    def is_silent(self) -> bool:
        """Whether the new start has failed and nothing that it said has been heard."""
        return self.verdict is Outcome.FAILED and not self.heard

    def hear(self, line: LogLine, audience: Audience, clock: Clock) -> None:
        """Take a line; those of the old process are passed over."""
        if self.new is None:
            self.early.append(line)
        elif self._is_new_line(line):
            during = self.story.boot().current
            self.story.add(line)
            self.heard.append(line)
            if during:
                self.heard_in.setdefault(during.name, deque(maxlen=EVIDENCE)).append(line)
            if self.announced is None and self.story.boot().serving_since:
                self.announced = clock.monotonic()
            audience.line(line)

    def look(self, replica: Replica, runtime: Runtime, audience: Audience, clock: Clock) -> None:
        """Look at the replica as it is now, and decide if it can be decided."""
        if self.verdict:
            return
        self.ended_at = clock.monotonic()
        if self.new is None:
            if not self._is_new(replica):
                return
            self.new = replica
            early, self.early = self.early, []
            for line in early:
                self.hear(line, audience, clock)
        if self._has_ended(replica):
            self._decide(Outcome.FAILED, replica.reason or _how_it_ended(replica))
            return
        if not self.readiness.url and replica.health is None and not self.is_stable_configured:
            self.stable = STABLE_UNCHECKED
        self.health = health.check(runtime, replica, PROBE_TIMEOUT, self.readiness)
        now = self.ended_at = clock.monotonic()
        if self.health.state is not self.state_since[0]:
            self.state_since = (self.health.state, now)
        state, since = self.state_since
        if self.serves_since is None and state not in _NOT_SERVING:
            self.serves_since = now
        lasted = now - since
        match state:
            case State.HEALTHY if lasted >= self.stable:
                self.ended_at = since  # the wait since then was ours, not the service's
                self._decide(Outcome.HEALTHY, "")
            case State.DEGRADED if lasted >= self.stable:
                self.ended_at = since
                self._decide(Outcome.DEGRADED, self.health.reason)
            case State.UNKNOWN if lasted >= self.stable:
                self._decide(Outcome.UNKNOWN, self.health.reason)
            case State.UNHEALTHY if lasted >= SETTLE_FOR:
                self._decide(Outcome.FAILED, self.health.reason)

    def undo(self, why: str) -> None:
        """The runtime has taken the restart back: what serves is what served before."""
        if self.verdict is not Outcome.FAILED:
            self._decide(Outcome.FAILED, why)

    def waits_for(self) -> str:
        """What the user is waiting for, in a few words."""
        if self.new is None:
            return "the old process to stop" if self.old and self.old.running else "a start"
        if self.health and self.health.state is State.HEALTHY:
            return f"{self.stable:g} s without a restart"
        phase = self.story.boot().current
        return f"{self.new.service}: {phase.name}" if phase else f"{self.new.service} to answer"

    def judge(self, begin: float, end: float, timeout: float) -> Verdict:
        """The verdict, with its evidence if it is not a good one."""
        known = self.new or self.old
        assert known is not None
        outcome = self.verdict or Outcome.TIMEOUT
        reason = self.reason
        if self.verdict is None:
            reason = f"waited {timeout:g} s for {self.waits_for()}"
            reason += "" if self.new else "; the restart goes on by itself"
            if self.health and self.health.state is not State.HEALTHY:
                reason += f" ({self.health.reason})"
        serving = None
        if self.serves_since is not None and self.announced is not None:
            serving = max(0.0, self.serves_since - self.announced)
        good = outcome is Outcome.HEALTHY
        told = self.story.boot(serving)
        trouble = None if good else told.current or told.failed
        if trouble and trouble.cause:
            reason += f": {trouble.cause}"
        evidence = self.heard_in.get(trouble.name, self.heard) if trouble else self.heard
        return Verdict(
            service=known.service,
            replica=known.replica,
            node=known.node,
            outcome=outcome,
            previous_started_at=self.old.started_at if self.old else None,
            started_at=self.new.started_at if self.new else None,
            total_seconds=round((self.ended_at or end) - begin, 3),
            phases=told.phases,
            health=self.health,
            reason=reason,
            remedy="" if good else self._remedy(known.service, trouble),
            evidence=() if good else tuple(evidence),
        )

    def _is_new_line(self, line: LogLine) -> bool:
        # Where the old process serves until the new one does, both speak at the same time.
        assert self.new is not None
        if line.identity and self.new.identity and line.identity != self.new.identity:
            return False
        return timestamps.parse(line.time) >= self._started()

    def _is_new(self, replica: Replica) -> bool:
        if replica.started_at is None:
            # It has ended before anybody looked.
            return replica.status in (Status.RESTARTING, Status.EXITED)
        return self.old is None or replica.started_at != self.old.started_at

    def _has_ended(self, replica: Replica) -> bool:
        assert self.new is not None
        return (
            not replica.running
            or replica.started_at != self.new.started_at
            or replica.restarts > self.new.restarts
        )

    def _started(self) -> datetime:
        start = self.new.started_at if self.new else None
        return start or datetime.min.replace(tzinfo=UTC)

    def _remedy(self, service: str, trouble: Phase | None) -> str:
        if self.health and self.health.state is State.UNKNOWN:
            return "ask it at an address that this machine reaches: inv health --url URL"
        if self.health and self.health.hint:
            return self.health.hint
        general = f"look at its log: inv logs {service} --tail 100"
        return self.advice.get(trouble.name, general) if trouble else general

    def _decide(self, outcome: Outcome, reason: str) -> None:
        self.verdict, self.reason = outcome, reason


def _how_it_ended(replica: Replica) -> str:
    code = "" if replica.exit_code is None else f" with code {replica.exit_code}"
    return f"it ended{code}" if not replica.running else "it was restarted again"
