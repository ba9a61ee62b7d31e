"""Judge the new start of one replica. Pure: replicas, log lines and health checks in, a Verdict out.

Times are seconds on the caller's clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from invoke_stack import timestamps
from invoke_stack.judge import boot
from invoke_stack.model import Health, LogLine, Outcome, Phase, Replica, State, Status, Verdict
from invoke_stack.profile.phases import NO_PHASES, PhaseMarkers
from invoke_stack.profile.readiness import Readiness

STABLE_FOR = 2.0  # seconds that a replica must stay ready before it counts as healthy
STABLE_UNCHECKED = 5.0  # the same in seconds for a replica without any health check
SETTLE_FOR = 10.0  # seconds that a serving replica may be unhealthy before its start has failed
EVIDENCE = 12  # log lines of the new start to show with a failure
_NOT_SERVING = (State.STARTING, State.UNKNOWN, State.UNREACHABLE)


@dataclass(frozen=True)
class Criteria:
    """The criteria that a start is judged by."""

    readiness: Readiness
    phases: PhaseMarkers = NO_PHASES
    advice: Mapping[str, str] = field(default_factory=dict)  # by phase: what to do if it fails
    stable: float = 0.0  # seconds that it must stay ready; 0: STABLE_FOR or STABLE_UNCHECKED


class StartJudge:
    """Follows one replica from the request to restart it until its verdict.

    Ignores what the old process prints or answers.
    """

    def __init__(
        self, old: Replica | None, criteria: Criteria, show: Callable[[LogLine], None]
    ) -> None:
        """Start to follow the replica.

        Args:
            old: the replica before the restart, if there was one.
            criteria: what the new start is judged by.
            show: called with each log line of the new start.
        """
        self.old = old
        self.new: Replica | None = None  # as of the first poll after its new start
        self.outcome: Outcome | None = None
        self._criteria = criteria
        self._show = show
        self._stable = criteria.stable or STABLE_FOR
        self._reason = ""
        self._health: Health | None = None
        self._state_since = (State.UNREACHABLE, 0.0)
        self._parser = boot.BootParser(criteria.phases)
        self._early_lines: list[LogLine] = []  # received before `new` was known
        self._last_lines: deque[LogLine] = deque(maxlen=EVIDENCE)
        self._lines_by_phase: dict[str, deque[LogLine]] = {}  # the last ones of each
        self._last_phase_at: float | None = None  # when the last phase began
        self._served_at: float | None = None  # when the application first answered
        self._decided_at: float | None = None  # time of the last poll, or of the one that decided

    @property
    def needs_evidence(self) -> bool:
        """True if the new start has failed and none of its log lines has arrived."""
        return self.outcome is Outcome.FAILED and not self._last_lines

    def add_line(self, line: LogLine, now: float) -> None:
        """Add a log line of the replica."""
        if self.new is None:
            self._early_lines.append(line)
        elif self._is_new_line(line):
            phase = self._parser.boot().current
            self._parser.add(line)
            self._last_lines.append(line)
            if phase:
                self._lines_by_phase.setdefault(phase.name, deque(maxlen=EVIDENCE)).append(line)
            if self._last_phase_at is None and self._parser.boot().serving_since:
                self._last_phase_at = now
            self._show(line)

    def add_replica(self, replica: Replica, now: float) -> bool:
        """Add the current state of the replica; return True if its health is needed to decide."""
        if self.outcome:
            return False
        self._decided_at = now
        if self.new is None:
            if not self._is_new(replica):
                return False
            self.new = replica
            early_lines, self._early_lines = self._early_lines, []
            for line in early_lines:
                self.add_line(line, now)
        if self._has_ended(replica, self.new):
            self._decide(Outcome.FAILED, replica.reason or _end_reason(replica))
            return False
        is_checked = self._criteria.readiness.url or replica.health is not None
        if not is_checked and not self._criteria.stable:
            self._stable = STABLE_UNCHECKED
        return True

    def add_health(self, health: Health, now: float) -> None:
        """Add the health of the new start, and decide if possible."""
        self._health, self._decided_at = health, now
        if health.state is not self._state_since[0]:
            self._state_since = (health.state, now)
        state, since = self._state_since
        if self._served_at is None and state not in _NOT_SERVING:
            self._served_at = now
        duration = now - since
        match state:
            case State.HEALTHY if duration >= self._stable:
                self._decided_at = since  # do not count the stability window
                self._decide(Outcome.HEALTHY, "")
            case State.DEGRADED if duration >= self._stable:
                self._decided_at = since
                self._decide(Outcome.DEGRADED, health.reason)
            case State.UNKNOWN if duration >= self._stable:
                self._decide(Outcome.UNKNOWN, health.reason)
            case State.UNHEALTHY if duration >= SETTLE_FOR:
                self._decide(Outcome.FAILED, health.reason)

    def mark_rolled_back(self, reason: str) -> None:
        """Fail the start: the runtime has rolled back to the old process for this `reason`."""
        if self.outcome is not Outcome.FAILED:
            self._decide(Outcome.FAILED, reason)

    def waits_for(self) -> str:
        """Return what the restart is waiting for, in a few words."""
        if self.new is None:
            return "the old process to stop" if self.old and self.old.running else "a new process"
        if self._health and self._health.state is State.HEALTHY:
            return f"{self._stable:g} s without a restart"
        phase = self._parser.boot().current
        return f"{self.new.service}: {phase.name}" if phase else f"{self.new.service} to answer"

    def verdict(self, begin: float, now: float, timeout: float) -> Verdict:
        """Return the verdict on the restart that was requested at `begin`."""
        replica = self.new or self.old
        assert replica is not None
        outcome = self.outcome or Outcome.TIMEOUT
        reason = self._reason if self.outcome else self._timed_out(timeout)
        served_after = None
        if self._served_at is not None and self._last_phase_at is not None:
            served_after = max(0.0, self._served_at - self._last_phase_at)
        is_good = outcome is Outcome.HEALTHY
        progress = self._parser.boot(served_after)
        phase = None if is_good else progress.current or progress.failed
        if phase and phase.cause:
            reason += f": {phase.cause}"
        lines = (
            self._lines_by_phase.get(phase.name, self._last_lines) if phase else self._last_lines
        )
        return Verdict(
            service=replica.service,
            replica=replica.replica,
            node=replica.node,
            outcome=outcome,
            previous_started_at=self.old.started_at if self.old else None,
            started_at=self.new.started_at if self.new else None,
            total_seconds=round((self._decided_at or now) - begin, 3),
            phases=progress.phases,
            health=self._health,
            reason=reason,
            remedy="" if is_good else self._remedy(replica.service, phase),
            evidence=() if is_good else tuple(lines),
        )

    def _timed_out(self, timeout: float) -> str:
        reason = f"waited {timeout:g} s for {self.waits_for()}"
        reason += "" if self.new else "; the restart continues in the background"
        if self._health and self._health.state is not State.HEALTHY:
            reason += f" ({self._health.reason})"
        return reason

    def _remedy(self, service: str, phase: Phase | None) -> str:
        if self._health and self._health.state is State.UNKNOWN:
            return "query an address that this machine can reach: inv health --url URL"
        if self._health and self._health.hint:
            return self._health.hint
        general = f"see its log: inv logs {service} --tail 100"
        return self._criteria.advice.get(phase.name, general) if phase else general

    def _is_new_line(self, line: LogLine) -> bool:
        # In a rolling update the old and the new process log at the same time.
        assert self.new is not None
        if line.identity and self.new.identity and line.identity != self.new.identity:
            return False
        started_at = self.new.started_at or datetime.min.replace(tzinfo=UTC)
        return timestamps.parse(line.time) >= started_at

    def _is_new(self, replica: Replica) -> bool:
        if replica.started_at is None:  # it ended before the first poll
            return replica.status in (Status.RESTARTING, Status.EXITED)
        return self.old is None or replica.started_at != self.old.started_at

    @staticmethod
    def _has_ended(replica: Replica, new: Replica) -> bool:
        is_another_start = replica.started_at != new.started_at or replica.restarts > new.restarts
        return not replica.running or is_another_start

    def _decide(self, outcome: Outcome, reason: str) -> None:
        self.outcome, self._reason = outcome, reason


def _end_reason(replica: Replica) -> str:
    code = "" if replica.exit_code is None else f" with code {replica.exit_code}"
    return f"it exited{code}" if not replica.running else "it was restarted again"
