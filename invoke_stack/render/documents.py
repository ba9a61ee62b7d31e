"""Model → JSON, with the keys that the contract names."""

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


def dumps(value: Any) -> str:
    """One line of JSON; times as RFC 3339 in UTC with milliseconds."""
    text = json.dumps(value, ensure_ascii=False, default=_plain)
    # Without them json leaves alone what a terminal obeys, or cannot be given, beyond ASCII.
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


_OBEYED = re.compile("[\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return timestamps.json_time(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(type(value).__name__)


def health_json(looks: Sequence[Health], worst: Health, runtime: str) -> dict[str, Any]:
    """As the contract has it; `replicas` only when there are several, `reason` only when unknown."""

    def one(look: Health) -> dict[str, Any]:
        return {
            "url": look.url,
            "state": look.state,
            "http_status": look.http_status,
            "latency_ms": look.latency_ms,
            "checked_at": look.checked_at,
            "health": look.body or None,
            **({"reason": look.reason} if look.state is State.UNKNOWN else {}),
        }

    result = {"service": worst.service, "runtime": runtime or None, **one(worst)}
    if len(looks) > 1:
        result["replicas"] = [
            {"replica": look.replica, "node": look.node, **one(look)} for look in looks
        ]
    return result


def verdict_json(verdicts: Sequence[Verdict], worst: Verdict, runtime: str) -> dict[str, Any]:
    """As the contract has it; `replicas` only when there are several."""

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
    """What a verb would do."""
    plan = [{"action": step.action, "name": step.name, "why": step.why} for step in steps]
    return {"runtime": runtime, "plan": plan}


def line_json(line: LogLine) -> str:
    """A log line as one line of JSON."""
    # Made plain before, as every line that is shown: a million of them would take seconds longer.
    told = line._asdict()
    del told["identity"]
    return json.dumps(told, ensure_ascii=False)


def status_json(seen: Snapshot) -> dict[str, Any]:
    """As the contract has it; the top level of a service is the worst of its replicas.

    `problem` is there only under --watch, when nothing could be seen.
    """
    listed: list[dict[str, Any]] = []
    for name in seen.services:
        of_service = [replica for replica in seen.replicas if replica.service == name]
        if not of_service:
            listed.append(
                {"name": name, "state": None, "health": None, "started_at": None}
                | {"restarts": 0, "image": None, "ports": []}
            )
            continue
        entry = {"name": name} | _replica_json(max(of_service, key=_badness))
        if len(of_service) > 1:
            entry["replicas"] = [
                {"replica": r.replica, "node": r.node} | _replica_json(r) for r in of_service
            ]
        listed.append(entry)
    return {
        "runtime": seen.runtime,
        "services": listed,
        "migrations": schema_json(seen.schema or Schema()),
        "boot": [
            {"replica": name, "phases": [_phase_json(phase) for phase in boot.phases]}
            for name, boot in seen.boots.items()
        ],
        **({"problem": seen.problem} if seen.problem else {}),
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


def _badness(replica: Replica) -> int:
    if not replica.running:
        return 3
    return {"unhealthy": 2, "starting": 1}.get(replica.health or "", 0)


def schema_json(schema: Schema) -> dict[str, Any]:
    pending = None if schema.pending is None else list(schema.pending)
    return {"current": schema.current, "head": schema.head, "pending": pending}


def check_results_json(check_results: Sequence[CheckResult], runtime: str) -> dict[str, Any]:
    """The findings of all checks in a row, then what became of each check."""
    return {
        "runtime": runtime,
        "findings": [
            {"check": each.check}
            | {"what": finding.what, "evidence": finding.evidence, "remedy": finding.remedy}
            for each in check_results
            for finding in each.findings
        ],
        "checks": [
            {"name": each.check, "result": each.result, "skipped": each.skipped or None}
            for each in check_results
        ],
    }
