"""The data types that all layers share: replicas, log lines, healths, boots and verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple


class Status(StrEnum):
    """The status of a replica's process or container, in Docker's terms."""

    RUNNING = "running"
    RESTARTING = "restarting"
    EXITED = "exited"
    CREATED = "created"
    PAUSED = "paused"


class Presence(IntEnum):
    """How much of a project's stack exists in one runtime."""

    NOTHING = 0
    DATA = 1  # only volumes or a data folder
    STOPPED = 2
    RUNNING = 3  # at least in part


class State(StrEnum):
    """The health of a service, from best to worst."""

    HEALTHY = "healthy"  # /ready answers 200
    DEGRADED = "degraded"  # serving, but the schema is not current
    STARTING = "starting"  # not serving yet
    UNKNOWN = "unknown"  # nothing could be found out
    UNHEALTHY = "unhealthy"  # serving, but the database or Redis does not answer
    UNREACHABLE = "unreachable"  # no answer


@dataclass(frozen=True)
class Replica:
    """One process or container of a service."""

    service: str
    replica: str  # its name, such as `backend-1`
    node: str  # the machine that it runs on
    status: Status
    health: str | None = None  # healthy, unhealthy or starting; None without a health check
    started_at: datetime | None = None  # UTC; None if it is not running
    restarts: int = 0  # by the runtime, since the user last started it
    image: str = ""
    ports: tuple[str, ...] = ()
    exit_code: int | None = None
    reason: str = ""  # why it is not running or not healthy, in a few words
    identity: str = ""  # the runtime's id of the container or task
    grace: int | None = None  # seconds from SIGTERM to SIGKILL; None: unknown

    @property
    def running(self) -> bool:
        """True if it is running."""
        return self.status is Status.RUNNING


class LogLine(NamedTuple):
    """One line of output. A tuple, because there may be millions."""

    time: str  # RFC 3339 in UTC with nine decimals, so that it sorts as text
    service: str
    replica: str
    node: str
    stream: str  # stdout or stderr
    text: str
    identity: str = ""  # `Replica.identity` of its replica, if known


@dataclass(frozen=True)
class Answer:
    """The answer of an endpoint, or why there is none."""

    url: str
    status: int | None  # HTTP status; None without an answer
    body: Mapping[str, Any]
    seconds: float
    problem: str = ""  # why there is no answer
    was_sent: bool = True  # False: nothing is known of the endpoint, `problem` says why
    through_engine: bool = False  # sent from inside a container, where 127.0.0.1 is that container


class Detail(NamedTuple):
    """One detail of a health body, shown beside the state."""

    label: str
    value: str
    is_good: bool | None = None  # None: neither good nor bad


@dataclass(frozen=True)
class Health:
    """The health of a replica at one moment."""

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
    """Return the worst health, which counts for the whole service."""
    order = list(State)
    return max(healths, key=lambda health: order.index(health.state))


@dataclass(frozen=True)
class Phase:
    """One part of a boot: `database`, `migrations` or `application`."""

    name: str
    seconds: float
    attempts: int
    outcome: str  # from its markers, see `profile.phases`; empty while unfinished
    cause: str = ""  # of a problem, as logged


@dataclass(frozen=True)
class Boot:
    """The progress of a start, from its log lines."""

    phases: tuple[Phase, ...] = ()
    serving_since: str | None = None  # time of the line that begins the last phase

    @property
    def current(self) -> Phase | None:
        """The unfinished phase, if there is one."""
        return next((phase for phase in self.phases if not phase.outcome), None)

    @property
    def failed(self) -> Phase | None:
        """The first phase that failed, if there is one."""
        return next((phase for phase in self.phases if phase.outcome in FAILURES), None)


FAILURES = ("failed", "timed out")
"""The outcomes of a failed phase."""


class Outcome(StrEnum):
    """The outcome of a restart, from best to worst."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNKNOWN = "unknown"
    FAILED = "failed"
    TIMEOUT = "timeout"


@dataclass(frozen=True)
class Verdict:
    """The verdict on the restart of one replica, with its evidence."""

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
    """The revisions of the database's schema. Unknown values are None."""

    current: str | None = None
    head: str | None = None
    pending: tuple[str, ...] | None = None


OUT_OF_MEMORY = "ran out of memory"
"""Part of the reason of a replica that was killed because it ran out of memory."""


@dataclass(frozen=True)
class Finding:
    """One problem: what it is, the evidence for it, and its remedy."""

    what: str
    evidence: tuple[str, ...] = ()
    remedy: str = ""


class Result(StrEnum):
    """The result of a check."""

    FINE = "fine"
    WRONG = "wrong"
    SKIPPED = "skipped"  # it does not apply, or needs a fact that is unknown


@dataclass(frozen=True)
class CheckResult:
    """The result and findings of one check of `doctor`."""

    check: str
    findings: tuple[Finding, ...] = ()
    skipped: str = ""  # why it was skipped

    @property
    def result(self) -> Result:
        """Wrong with any finding, else skipped or fine."""
        if self.findings:
            return Result.WRONG
        return Result.SKIPPED if self.skipped else Result.FINE


@dataclass(frozen=True)
class Snapshot:
    """The stack at one moment."""

    runtime: str
    services: tuple[str, ...] = ()
    replicas: tuple[Replica, ...] = ()
    schema: Schema | None = None  # None if the project has no known schema
    boots: Mapping[str, Boot] = field(default_factory=dict)  # the last boot, by replica
    problem: str = ""  # why the snapshot could not be taken


@dataclass(frozen=True)
class Step:
    """One step of a dry run."""

    action: str
    name: str
    why: str


@dataclass(frozen=True)
class EngineInfo:
    """What an engine reports about itself."""

    version: str
    clock_ahead: float  # seconds by which its clock is ahead of ours
    clock_error: float  # maximum error of `clock_ahead` in seconds
    folder: str  # its data folder
    is_here: bool  # True if its published ports are known to be ports of this machine


@dataclass(frozen=True)
class Disk:
    """The capacity of a file system."""

    name: str
    total: int  # bytes
    free: int  # bytes
    free_files: float = 1.0  # free inodes, as a part of all
