"""The nouns that everything speaks: what runs, what it says, how it booted, how it feels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple


class Status(StrEnum):
    """What a replica's process or container does, in the words of Docker."""

    RUNNING = "running"
    RESTARTING = "restarting"
    EXITED = "exited"
    CREATED = "created"
    PAUSED = "paused"


class Presence(IntEnum):
    """How much of a project's stack exists in one runtime."""

    NOTHING = 0
    DATA = 1  # volumes or a data folder, and nothing that could be started again
    STOPPED = 2
    RUNNING = 3  # at least in part


class State(StrEnum):
    """What a service's endpoints say of it, from best to worst."""

    HEALTHY = "healthy"  # /ready answers 200
    DEGRADED = "degraded"  # it serves, but the schema is not current
    STARTING = "starting"  # it is not serving yet
    UNKNOWN = "unknown"  # it could not be asked
    UNHEALTHY = "unhealthy"  # it serves, but the database or Redis does not answer
    UNREACHABLE = "unreachable"  # no answer


@dataclass(frozen=True)
class Replica:
    """One process or container of a service."""

    service: str
    replica: str  # its own name, such as `backend-1`
    node: str  # the machine that it runs on
    status: Status
    health: str | None = None  # healthy, unhealthy or starting; None when nothing probes it
    started_at: datetime | None = None  # UTC; None when it does not run
    restarts: int = 0  # by the runtime, since somebody asked for a start
    image: str = ""
    ports: tuple[str, ...] = ()
    exit_code: int | None = None
    reason: str = ""  # why it does not run, or is not healthy, in a few words
    identity: str = ""  # what the runtime knows it by: the id of a container or of a task
    grace: int | None = None  # seconds from the request to stop to SIGKILL; None: not known

    @property
    def running(self) -> bool:
        return self.status is Status.RUNNING


class LogLine(NamedTuple):
    """One line of output. A tuple, because there may be millions."""

    time: str  # RFC 3339 in UTC with nine decimals, so that text order is time order
    service: str
    replica: str
    node: str
    stream: str  # stdout or stderr
    text: str
    identity: str = ""  # of the replica that said it, as in `Replica.identity`, where it is known


@dataclass(frozen=True)
class Answer:
    """What an endpoint answered, or why it did not."""

    url: str
    status: int | None  # HTTP status; None when nothing answered
    body: Mapping[str, Any]
    seconds: float
    problem: str = ""
    was_sent: bool = True  # False: the request could not be sent, `problem` says why
    through_engine: bool = False  # asked from inside a container, where 127.0.0.1 is that container


class Detail(NamedTuple):
    """One fact of a health body, to show beside the state."""

    label: str
    value: str
    is_good: bool | None = None  # None: neither good nor bad


@dataclass(frozen=True)
class Health:
    """How a replica was at one moment."""

    service: str
    replica: str
    node: str
    state: State
    url: str
    http_status: int | None
    latency_ms: float | None
    checked_at: datetime  # UTC
    body: Mapping[str, Any]
    reason: str = ""  # why it is not healthy, in a few words
    hint: str = ""  # what to do about that
    details: tuple[Detail, ...] = ()
    through_engine: bool = False  # as in `Answer`


def worst(healths: Sequence[Health]) -> Health:
    """Return the one that the whole service is judged by."""
    order = list(State)
    return max(healths, key=lambda health: order.index(health.state))


@dataclass(frozen=True)
class Phase:
    """One part of a boot: `database`, `migrations` or `application`."""

    name: str
    seconds: float
    attempts: int
    outcome: str  # see invoke_stack/profile/phases.py; empty while the phase lasts
    cause: str = ""  # why it does not go well, in its own words


@dataclass(frozen=True)
class Boot:
    """What the log lines of a start tell."""

    phases: tuple[Phase, ...] = ()
    serving_since: str | None = None  # the time of the line that announced the application

    @property
    def current(self) -> Phase | None:
        """The phase that has not ended yet."""
        return next((phase for phase in self.phases if not phase.outcome), None)

    @property
    def failed(self) -> Phase | None:
        """The first phase that did not do what it is for."""
        return next((phase for phase in self.phases if phase.outcome in FAILURES), None)


FAILURES = ("failed", "timed out")
"""The outcomes of a phase that mean that it did not do what it is for."""


class Outcome(StrEnum):
    """What `restart` says in the end, from best to worst."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNKNOWN = "unknown"
    FAILED = "failed"
    TIMEOUT = "timeout"


@dataclass(frozen=True)
class Verdict:
    """How the restart of one replica went, with the evidence."""

    service: str
    replica: str
    node: str
    outcome: Outcome
    previous_started_at: datetime | None
    started_at: datetime | None
    total_seconds: float
    phases: tuple[Phase, ...]
    health: Health | None
    reason: str = ""
    remedy: str = ""
    evidence: tuple[LogLine, ...] = field(default=())


@dataclass(frozen=True)
class Schema:
    """Where the database's schema stands. Every part is None when nobody could tell."""

    current: str | None = None
    head: str | None = None
    pending: tuple[str, ...] | None = None


OUT_OF_MEMORY = "ran out of memory"
"""What the reason of a replica holds when it was killed for memory."""


@dataclass(frozen=True)
class Finding:
    """Something that is wrong: what, how that shows, and what mends it."""

    what: str
    evidence: tuple[str, ...] = ()
    remedy: str = ""


class Result(StrEnum):
    """What became of a check."""

    FINE = "fine"
    WRONG = "wrong"
    SKIPPED = "skipped"  # it does not apply here, or what it needs is not known


@dataclass(frozen=True)
class CheckResult:
    """What one check of `doctor` found."""

    check: str
    findings: tuple[Finding, ...] = ()
    skipped: str = ""  # why it could not be made

    @property
    def result(self) -> Result:
        if self.findings:
            return Result.WRONG
        return Result.SKIPPED if self.skipped else Result.FINE


@dataclass(frozen=True)
class Snapshot:
    """The stack at one moment."""

    runtime: str
    services: tuple[str, ...] = ()
    replicas: tuple[Replica, ...] = ()
    schema: Schema | None = None  # None for a project whose schema is not known
    boots: Mapping[str, Boot] = field(default_factory=dict)  # the last one of each replica
    problem: str = ""  # why nothing could be seen


@dataclass(frozen=True)
class Step:
    """Something that a verb would do."""

    action: str
    name: str
    why: str


@dataclass(frozen=True)
class EngineInfo:
    """What an engine tells of itself."""

    version: str
    clock_ahead: float  # seconds that its clock is ahead of ours
    clock_error: float  # seconds that this may be wrong by
    folder: str  # where it keeps its data
    is_here: bool  # its published ports are known to be ports of this machine


@dataclass(frozen=True)
class Disk:
    """How full a file system is."""

    name: str
    total: int  # bytes
    free: int  # bytes
    free_files: float = 1.0  # the part of all possible files that may still be made
