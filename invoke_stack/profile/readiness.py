"""Turn the answer of a readiness URL, or a container's own health check, into a Health."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from invoke_stack.model import Answer, Detail, Health, Replica, State

_STATES = {"healthy": State.HEALTHY, None: State.HEALTHY, "unhealthy": State.UNHEALTHY}


@dataclass(frozen=True)
class Assessment:
    """The meaning of one answer that has an HTTP status."""

    state: State
    reason: str = ""  # why it is not healthy, in a few words
    hint: str = ""  # what to do about that; empty if the user has to read the log
    http_status: int | None = None  # reported in place of the answer's own
    details: tuple[Detail, ...] = ()


def assess_by_status(answer: Answer) -> Assessment:
    """Return healthy for any 2xx status, else unhealthy."""
    if answer.status is not None and 200 <= answer.status < 300:
        return Assessment(State.HEALTHY)
    return Assessment(State.UNHEALTHY, f"HTTP {answer.status}")


@dataclass(frozen=True)
class Readiness:
    """The readiness URL of the main service, and how to assess its answer."""

    url: str  # a path on its port, or a URL; empty: use its container's own health check
    assess: Callable[[Answer], Assessment] = assess_by_status


CONTAINER_CHECK = Readiness("")


def read_health(answer: Answer, replica: Replica, readiness: Readiness) -> Health:
    """Return the health of a replica from the answer of its readiness URL."""
    if not answer.was_sent:
        assessment = Assessment(State.UNKNOWN, answer.problem)
    elif answer.status is None:
        assessment = Assessment(State.UNREACHABLE, answer.problem or "no answer")
    else:
        assessment = readiness.assess(answer)
    return Health(
        service=replica.service,
        replica=replica.replica,
        node=replica.node,
        state=assessment.state,
        url=answer.url,
        http_status=assessment.http_status or answer.status,
        latency_ms=None if answer.status is None else round(answer.seconds * 1000, 1),
        checked_at=datetime.now(UTC),
        body=answer.body,
        reason=assessment.reason,
        hint=assessment.hint,
        details=assessment.details,
        through_engine=answer.through_engine,
    )


def container_health(replica: Replica) -> Health:
    """Return the health of a replica from its container's own health check.

    A running container without a health check is healthy.
    """
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
        reason=_container_reason(replica, state),
    )


def _container_reason(replica: Replica, state: State) -> str:
    match state:
        case State.HEALTHY:
            return ""
        case State.UNREACHABLE:
            return replica.reason or "no answer"
        case _:
            return replica.reason
