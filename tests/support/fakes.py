"""Fakes for unit tests: a clock that is set by hand, and a runtime that plays a script."""

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
    """A clock that stands still until `seconds` is set."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


def moment(seconds: float) -> datetime:
    """Return the time at a second of the clock."""
    return DAY + timedelta(seconds=seconds)


def stamp(seconds: float) -> str:
    """Return the timestamp of a log line at a second of the clock."""
    return timestamps.log_time(moment(seconds))


def line(seconds: float, text: str, replica: str = "backend", stream: str = "stdout") -> LogLine:
    """Return a log line of the backend at a second of the clock."""
    return LogLine(stamp(seconds), "backend", replica, "node", stream, text)


def body(phase: str = "serving", **fields: object) -> dict[str, object]:
    """Return the body of a healthy /health response, with these fields replaced."""
    return {"ok": True, "db": True, "redis": True, "queue_depth": 0, "version": "0.1.0"} | {
        "phase": phase,
        "migrations": "current",
        **fields,
    }


READY = (200, body())


@dataclass
class ScriptedRuntime:
    """A runtime that plays a scripted restart of the backend, each event at its second.

    `lines` appear at their own time; `starts`, `ends` and `answers` are (second, …) in order.
    """

    clock: FakeClock
    lines: list[LogLine] = field(default_factory=list)
    starts: list[tuple[float, str]] = field(default_factory=list)  # second, replica
    ends: list[tuple[float, str, int]] = field(default_factory=list)  # second, replica, exit code
    # What /ready returns from that second on: status and body, None if the connection is refused,
    # or the reason why no request can be sent.
    answers: list[tuple[float, tuple[int, dict[str, object]] | str | None]] = field(
        default_factory=list
    )
    replica_names: Sequence[str] = ("backend",)
    restarts_itself: bool = True  # the runtime restarts a replica that has exited
    restart_returns_at: float = 0.0  # when the request to restart returns
    restart_calls: int = 0
    caller: threading.Thread | None = None  # the thread that called `restart`
    called: threading.Event = field(default_factory=threading.Event)
    returning: threading.Event = field(default_factory=threading.Event)
    name = "scripted"
    capabilities = Capabilities(containers=False)
    step = 0.05

    def replicas(self, service: str | None = None, *, probe: bool = True) -> list[Replica]:
        return [self._replica(name) for name in self.replica_names]

    def _replica(self, name: str) -> Replica:
        now = self.clock.seconds
        result = Replica("backend", name, "node", Status.RUNNING, started_at=moment(-3600))
        events = [(at, None) for at, replica in self.starts if replica == name and at <= now]
        events += [(at, code) for at, replica, code in self.ends if replica == name and at <= now]
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
        past = [answer for at, answer in self.answers if at <= self.clock.seconds]
        current = past[-1] if past else None
        if current is None:
            return Answer("http://x/ready", None, {}, 0.0, "connection refused")
        if isinstance(current, str):
            return Answer("", None, {}, 0.0, current, was_sent=False)
        status, fields = current
        return Answer("http://x/ready", status, fields, 0.001)

    def follow(
        self, services: Sequence[str], *, tail: int | None, since: str | None, say: object
    ) -> Iterator[LogLine | None]:
        rest = sorted(self.lines, key=lambda line: line.time)
        yield None
        while True:
            self.clock.seconds = round(self.clock.seconds + self.step, 6)
            self._return_from_restart()
            while rest and rest[0].time <= stamp(self.clock.seconds):
                yield rest.pop(0)
            yield None

    def _return_from_restart(self) -> None:
        """Let `restart` return at its second, however slowly its thread is scheduled."""
        if self.clock.seconds >= self.restart_returns_at and not self.returning.is_set():
            assert self.called.wait(30)
            self.returning.set()
            self.caller.join(30)

    def is_here(self) -> bool:
        return False

    def restart(self, service: str) -> None:
        self.restart_calls += 1
        self.caller = threading.current_thread()
        self.called.set()
        assert self.returning.wait(30)
