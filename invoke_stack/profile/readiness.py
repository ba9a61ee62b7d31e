"""What the answer of a readiness address means, and what a container's own health check says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from invoke_stack.model import Answer, Detail, Health, Replica, State


@dataclass(frozen=True)
class Reading:
    """What one answer means. Only an answer with an HTTP status is read."""

    state: State
    reason: str = ""  # why it is not healthy, in a few words
    hint: str = ""  # what to do about that; empty if the log has to be read
    http_status: int | None = None  # what to report in place of the answer's own
    details: tuple[Detail, ...] = ()


def by_status(answer: Answer) -> Reading:
    """Read an answer of which only the HTTP status is known to mean something: 2xx is ready."""
    if answer.status is not None and 200 <= answer.status < 300:
        return Reading(State.HEALTHY)
    return Reading(State.UNHEALTHY, f"HTTP {answer.status}")


@dataclass(frozen=True)
class Readiness:
    """Where the main service says whether it is ready, and how that is read."""

    url: str  # a path of its port, or an address; empty: its container's own health check decides
    read: Callable[[Answer], Reading] = by_status


OWN_CHECK = Readiness("")


def read_health(answer: Answer, replica: Replica, readiness: Readiness) -> Health:
    """Return what the answer of its readiness address says about a replica."""
    if not answer.was_sent:
        reading = Reading(State.UNKNOWN, answer.problem)
    elif answer.status is None:
        reading = Reading(State.UNREACHABLE, answer.problem or "no answer")
    else:
        reading = readiness.read(answer)
    return Health(
        service=replica.service,
        replica=replica.replica,
        node=replica.node,
        state=reading.state,
        url=answer.url,
        http_status=reading.http_status or answer.status,
        latency_ms=None if answer.status is None else round(answer.seconds * 1000, 1),
        checked_at=datetime.now(UTC),
        body=answer.body,
        reason=reading.reason,
        hint=reading.hint,
        details=reading.details,
        through_engine=answer.through_engine,
    )


def own_health(replica: Replica) -> Health:
    """Return what its container's own health check says; without one, running is enough."""
    state = _STATES.get(replica.health, State.STARTING)
    if not replica.running:
        state = State.UNREACHABLE
    return Health(
        service=replica.service,
        replica=replica.replica,
        node=replica.node,
        state=state,
        url="",
        http_status=None,
        latency_ms=None,
        checked_at=datetime.now(UTC),
        body={},
        reason=_own_reason(replica, state),
    )


_STATES = {"healthy": State.HEALTHY, None: State.HEALTHY, "unhealthy": State.UNHEALTHY}


def _own_reason(replica: Replica, state: State) -> str:
    match state:
        case State.HEALTHY:
            return ""
        case State.UNREACHABLE:
            return replica.reason or "no answer"
        case _:
            return replica.reason
