"""What cannot be had for real in a test: a clock to turn by hand, and a runtime that plays a script."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from invoke_stack import timestamps
from invoke_stack.model import Answer, LogLine, Replica, Status
from invoke_stack.runtimes.base import Capabilities

DAY = datetime(2026, 1, 1, tzinfo=UTC)


class FakeClock:
    """Stands still until it is turned."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


def moment(seconds: float) -> datetime:
    return DAY + timedelta(seconds=seconds)


def stamp(seconds: float) -> str:
    return timestamps.log_time(moment(seconds))


def line(seconds: float, text: str, replica: str = "backend", stream: str = "stdout") -> LogLine:
    return LogLine(stamp(seconds), "backend", replica, "node", stream, text)


def body(phase: str = "serving", **more: object) -> dict[str, object]:
    return {"ok": True, "db": True, "redis": True, "queue_depth": 0, "version": "0.1.0"} | {
        "phase": phase,
        "migrations": "current",
        **more,
    }


READY = (200, body())


@dataclass
class ScriptedRuntime:
    """Plays what happens to a backend after a restart: everything at its second of the clock.

    `lines` come at their own time; `starts`, `ends` and `answers` are (second, …) in order.
    """

    clock: FakeClock
    lines: list[LogLine] = field(default_factory=list)
    starts: list[tuple[float, str]] = field(default_factory=list)  # second, replica
    ends: list[tuple[float, str, int]] = field(default_factory=list)  # second, replica, exit code
    # A text is why it cannot be asked.
    answers: list[tuple[float, tuple[int, dict[str, object]] | str | None]] = field(
        default_factory=list
    )
    replica_names: Sequence[str] = ("backend",)
    restarts_itself: bool = True  # what has ended is started again, some time later
    restart_returns_at: float = 0.0  # when the request to restart returns
    restart_calls: int = 0
    request: threading.Thread | None = None  # the thread that asked for the restart
    requested: threading.Event = field(default_factory=threading.Event)
    answer: threading.Event = field(default_factory=threading.Event)
    name = "scripted"
    capabilities = Capabilities(containers=False)
    step = 0.05

    def replicas(self, service: str | None = None, *, probe: bool = True) -> list[Replica]:
        return [self._replica(name) for name in self.replica_names]

    def _replica(self, name: str) -> Replica:
        now = self.clock.seconds
        result = Replica("backend", name, "node", Status.RUNNING, started_at=moment(-3600))
        events = [(at, None) for at, which in self.starts if which == name and at <= now]
        events += [(at, code) for at, which, code in self.ends if which == name and at <= now]
        for at, code in sorted(events, key=lambda event: event[0]):
            if code is None:
                result = replace(result, status=Status.RUNNING, started_at=moment(at))
            else:
                result = replace(
                    result,
                    status=Status.RESTARTING if self.restarts_itself else Status.EXITED,
                    started_at=None,
                    exit_code=code,
                    restarts=result.restarts + 1,
                )
        return result

    def get(self, replica: Replica, path: str, timeout: float) -> Answer:
        said = [answer for at, answer in self.answers if at <= self.clock.seconds]
        if not said or said[-1] is None:
            return Answer("http://x/ready", None, {}, 0.0, "connection refused")
        if isinstance(said[-1], str):
            return Answer("", None, {}, 0.0, said[-1], was_sent=False)
        return Answer("http://x/ready", said[-1][0], said[-1][1], 0.001)

    def follow(
        self, services: Sequence[str], *, tail: int | None, since: str | None, say: object
    ) -> Iterator[LogLine | None]:
        rest = sorted(self.lines, key=lambda each: each.time)
        yield None
        while True:
            self.clock.seconds = round(self.clock.seconds + self.step, 6)
            self._answer_request()
            while rest and rest[0].time <= stamp(self.clock.seconds):
                yield rest.pop(0)
            yield None

    def _answer_request(self) -> None:
        """Let the request return at its second, however slowly its thread is scheduled."""
        if self.clock.seconds >= self.restart_returns_at and not self.answer.is_set():
            assert self.requested.wait(30)
            self.answer.set()
            self.request.join(30)

    def is_here(self) -> bool:
        return False

    def restart(self, service: str) -> None:
        self.restart_calls += 1
        self.request = threading.current_thread()
        self.requested.set()
        assert self.answer.wait(30)
