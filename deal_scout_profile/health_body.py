"""Assess the body of the backend's `/health` and `/ready`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from invoke_stack.model import Answer, Detail, State
from invoke_stack.profile.readiness import Assessment, assess_by_status

_DEPENDENCIES = {"db": "the database", "redis": "Redis"}
_PHASES = {"waiting": "waiting for the database", "migrating": "applying migrations"}


def assess(answer: Answer) -> Assessment:
    """Return the Assessment of an answer of `/ready`."""
    body = answer.body
    is_ready = assess_by_status(answer).state is State.HEALTHY
    if "db" not in body:
        if is_ready:
            return Assessment(State.HEALTHY)
        reason = f"another program answers there (HTTP {answer.status} without a health body)"
        return Assessment(State.UNREACHABLE, reason)
    unavailable = [name for key, name in _DEPENDENCIES.items() if not body.get(key)]
    hint = ""
    if is_ready:
        state, reason = State.HEALTHY, ""
    elif body.get("phase") not in (None, "serving"):
        state, reason = State.STARTING, _phase(body)
    elif not unavailable:
        schema = body.get("migrations")
        state, reason = State.DEGRADED, f"the schema is not current (migrations: {schema})"
    else:
        verb = "does" if len(unavailable) == 1 else "do"
        state, reason = State.UNHEALTHY, f"{' and '.join(unavailable)} {verb} not answer"
        if "Redis" in unavailable:
            hint = "check Redis: inv status, inv logs redis"
    # The status of `/health`, which the JSON reports: `/ready` also answers 503 when degraded.
    return Assessment(state, reason, hint, 503 if unavailable else 200, _details(body))


def _phase(body: Mapping[str, Any]) -> str:
    name = str(body.get("phase"))
    reason = _PHASES.get(name, name)
    if body.get("attempt") and body.get("attempts"):
        reason += f", attempt {body['attempt']} of {body['attempts']}"
    return reason


def _details(body: Mapping[str, Any]) -> tuple[Detail, ...]:
    def dependency(label: str, key: str) -> Detail:
        return Detail(label, "ok" if body.get(key) else "down", bool(body.get(key)))

    def value(label: str, key: str) -> Detail:
        return Detail(label, "unknown" if body.get(key) is None else str(body[key]))

    return (
        dependency("DB", "db"),
        dependency("Redis", "redis"),
        value("queue", "queue_depth"),
        value("migrations" if body.get("migrations") == "failed" else "schema", "migrations"),
    )
