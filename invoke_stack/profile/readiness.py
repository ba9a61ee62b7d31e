"""What the answer of a readiness URL means, and what a runtime's own probe does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from invoke_stack.model import Answer, Health, Replica, State

READY = "/ready"
"""deal-scout's own endpoint, with the body of `/health`; of others only the HTTP status is known."""


def by_probe(replica: Replica) -> Health:
    """Return the health that the runtime's own probe reports; without one, running is enough."""
    state = _PROBED.get(replica.health, State.STARTING)
    if not replica.running:
        state = State.UNREACHABLE
    nothing = Answer("", None, {}, 0.0, replica.reason)
    return replace(read(nothing, replica.service, replica.replica, replica.node), state=state)


_PROBED = {"healthy": State.HEALTHY, None: State.HEALTHY, "unhealthy": State.UNHEALTHY}


def read(answer: Answer, service: str, replica: str, node: str, where: str = READY) -> Health:
    """Return what the answer of `where`, a path, means for the replica's health."""
    body = answer.body
    problem = answer.problem
    if not answer.asked:
        state = State.UNKNOWN
    elif answer.status is None:
        state = State.UNREACHABLE
    elif 200 <= answer.status < 300:
        state = State.HEALTHY
    elif where != READY:
        state = State.UNHEALTHY
        problem = f"HTTP {answer.status}"
    elif "db" not in body:
        state = State.UNREACHABLE
        problem = f"HTTP {answer.status} without a health body: something else answers there"
    elif body.get("phase") not in (None, "serving"):
        state = State.STARTING
    elif body.get("db") and body.get("redis"):
        state = State.DEGRADED
    else:
        state = State.UNHEALTHY
    return Health(
        service=service,
        replica=replica,
        node=node,
        state=state,
        url=answer.url,
        http_status=_health_status(answer, state),
        latency_ms=None if answer.status is None else round(answer.seconds * 1000, 1),
        checked_at=datetime.now(UTC),
        body=body,
        problem=problem,
        through_engine=answer.through_engine,
    )


def _health_status(answer: Answer, state: State) -> int | None:
    """The status that `/health` has with this body: it depends on db and redis alone."""
    if "db" not in answer.body:
        return answer.status
    return 200 if answer.body.get("db") and answer.body.get("redis") else 503


def explain(health: Health) -> str:
    """Say in a few words why a service is not healthy; empty if it is."""
    body = health.body
    match health.state:
        case State.HEALTHY:
            return ""
        case State.UNREACHABLE:
            return health.problem or "no answer"
        case State.UNKNOWN:
            return health.problem
        case State.STARTING:
            return _phase(body)
        case State.DEGRADED:
            return f"the schema is not current (migrations: {body.get('migrations')})"
        case State.UNHEALTHY if "db" not in body:
            return health.problem
        case State.UNHEALTHY:
            away = [name for name in ("db", "redis") if not body.get(name)]
            names = {"db": "the database", "redis": "Redis"}
            return " and ".join(names[name] for name in away) + (
                " does not answer" if len(away) == 1 else " do not answer"
            )


def _phase(body: Mapping[str, Any]) -> str:
    what = {"waiting": "waiting for the database", "migrating": "applying migrations"}
    told = what.get(str(body.get("phase")), str(body.get("phase")))
    if body.get("attempt") and body.get("attempts"):
        told += f", attempt {body['attempt']} of {body['attempts']}"
    return told
