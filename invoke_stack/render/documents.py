"""Render the model as JSON, with the keys of the contract."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from invoke_stack import timestamps
from invoke_stack.model import (
    CheckResult,
    Health,
    LogLine,
    Phase,
    Replica,
    Schema,
    Snapshot,
    State,
    Step,
    Verdict,
)

# Non-ASCII controls and surrogates, which `ensure_ascii=False` does not escape.
_CONTROLS = re.compile("[\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def dumps(value: Any) -> str:
    """Return one line of JSON; times are RFC 3339 in UTC with milliseconds."""
    text = json.dumps(value, ensure_ascii=False, default=_plain)
    return _CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return timestamps.json_time(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(type(value).__name__)


def health_json(healths: Sequence[Health], worst: Health, runtime: str) -> dict[str, Any]:
    """Return the JSON of `inv health`.

    It has `replicas` only if there are several, and `reason` only for an unknown state.
    """

    def one(health: Health) -> dict[str, Any]:
        return {
            "url": health.url,
            "state": health.state,
            "http_status": health.http_status,
            "latency_ms": health.latency_ms,
            "checked_at": health.checked_at,
            "health": health.body or None,
            **({"reason": health.reason} if health.state is State.UNKNOWN else {}),
        }

    result = {"service": worst.service, "runtime": runtime or None, **one(worst)}
    if len(healths) > 1:
        result["replicas"] = [
            {"replica": health.replica, "node": health.node, **one(health)} for health in healths
        ]
    return result


def verdict_json(verdicts: Sequence[Verdict], worst: Verdict, runtime: str) -> dict[str, Any]:
    """Return the JSON of `inv restart`; it has `replicas` only if there are several."""

    def one(verdict: Verdict) -> dict[str, Any]:
        return {
            "verdict": verdict.outcome,
            "previous_started_at": verdict.previous_started_at,
            "started_at": verdict.started_at,
            "total_seconds": verdict.total_seconds,
            "phases": [_phase_json(phase) for phase in verdict.phases],
            "health": (verdict.health.body or None) if verdict.health else None,
            "reason": verdict.reason,
        }

    result = {"service": worst.service, "runtime": runtime, **one(worst)}
    if len(verdicts) > 1:
        result["replicas"] = [{"replica": v.replica, "node": v.node, **one(v)} for v in verdicts]
    return result


def _phase_json(phase: Phase) -> dict[str, Any]:
    return {
        "name": phase.name,
        "seconds": round(phase.seconds, 3),
        "attempts": phase.attempts,
        "outcome": phase.outcome or "unfinished",
    }


def plan_json(steps: Sequence[Step], runtime: str) -> dict[str, Any]:
    """Return the JSON of a dry run."""
    plan = [{"action": step.action, "name": step.name, "why": step.why} for step in steps]
    return {"runtime": runtime, "plan": plan}


def line_json(line: LogLine) -> str:
    """Return a log line as one line of JSON."""
    # Without `dumps`, which takes seconds longer for a million lines: the text is already plain.
    values = line._asdict()
    del values["identity"]
    return json.dumps(values, ensure_ascii=False)


def status_json(snapshot: Snapshot) -> dict[str, Any]:
    """Return the JSON of `inv status`; the top level of a service is its worst replica.

    It has `problem` only under --watch, if the stack could not be queried.
    """
    services: list[dict[str, Any]] = []
    for name in snapshot.services:
        replicas = [replica for replica in snapshot.replicas if replica.service == name]
        if not replicas:
            services.append(
                {"name": name, "state": None, "health": None, "started_at": None}
                | {"restarts": 0, "image": None, "ports": []}
            )
            continue
        entry = {"name": name} | _replica_json(max(replicas, key=_severity))
        if len(replicas) > 1:
            entry["replicas"] = [
                {"replica": r.replica, "node": r.node} | _replica_json(r) for r in replicas
            ]
        services.append(entry)
    return {
        "runtime": snapshot.runtime,
        "services": services,
        "migrations": schema_json(snapshot.schema or Schema()),
        "boot": [
            {"replica": name, "phases": [_phase_json(phase) for phase in boot.phases]}
            for name, boot in snapshot.boots.items()
        ],
        **({"problem": snapshot.problem} if snapshot.problem else {}),
    }


def _replica_json(replica: Replica) -> dict[str, Any]:
    return {
        "state": replica.status,
        "health": replica.health,
        "started_at": replica.started_at,
        "restarts": replica.restarts,
        "image": replica.image,
        "ports": list(replica.ports),
    }


def _severity(replica: Replica) -> int:
    if not replica.running:
        return 3
    return {"unhealthy": 2, "starting": 1}.get(replica.health or "", 0)


def schema_json(schema: Schema) -> dict[str, Any]:
    """Return the JSON of the schema's revisions."""
    pending = None if schema.pending is None else list(schema.pending)
    return {"current": schema.current, "head": schema.head, "pending": pending}


def check_results_json(check_results: Sequence[CheckResult], runtime: str) -> dict[str, Any]:
    """Return the JSON of `inv doctor`: the findings of all checks, then the result of each check."""
    return {
        "runtime": runtime,
        "findings": [
            {"check": check_result.check}
            | {"what": finding.what, "evidence": finding.evidence, "remedy": finding.remedy}
            for check_result in check_results
            for finding in check_result.findings
        ],
        "checks": [
            {"name": check.check, "result": check.result, "skipped": check.skipped or None}
            for check in check_results
        ],
    }
