"""Converts Swarm's tasks to replicas. Pure.

A replica is a slot of a service, or a node for a global service. Over time a slot has several tasks,
one for each container that was started in it, and two at once during a start-first update. The
newest active task represents the slot.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from invoke_stack import timestamps
from invoke_stack.model import Answer, Replica, Status
from invoke_stack.profile.readiness import Readiness, read_health
from invoke_stack.runtimes.docker import engine

Task = Mapping[str, Any]
Service = Mapping[str, Any]

_INACTIVE = ("shutdown", "remove")  # desired states of a task that is to stop
_FAILED = ("failed", "rejected")
_STATUS = {"running": Status.RUNNING, "starting": Status.RUNNING}
_ENDED = ("complete", "shutdown", "failed", "rejected", "remove", "orphaned")


class Node(NamedTuple):
    """A node of the swarm."""

    name: str
    address: str
    is_up: bool


def replicas_of(
    name: str, service: Service, tasks: Iterable[Task], nodes: Mapping[str, Node]
) -> list[Replica]:
    """Return the replicas of a service; those without any task yet have the status `created`."""
    slots: dict[str, list[Task]] = {}
    for task in sorted(tasks, key=created_at):
        slots.setdefault(slot_of(task), []).append(task)
    active = {slot: history for slot, history in slots.items() if any(map(is_active, history))}
    count = service["Spec"]["Mode"].get("Replicated", {}).get("Replicas", len(active))
    free_slots = [n for n in map(str, range(1, count + len(active) + 1)) if n not in active]
    names = replica_names(name, service, slots, nodes)
    replicas = [
        _replica(name, names[slot], service, history, nodes) for slot, history in active.items()
    ]
    for slot in free_slots[: max(0, count - len(active))]:
        replica_name = f"{name}-{slot}" if count > 1 else name
        replicas.append(Replica(name, replica_name, "", Status.CREATED, reason="not scheduled yet"))
    return sorted(replicas, key=lambda r: (len(r.replica), r.replica))


def replica_names(
    name: str, service: Service, slots: Iterable[str], nodes: Mapping[str, Node]
) -> dict[str, str]:
    """Return a name for each slot; the only replica of a service has the service's name."""
    all_slots = list(slots)
    replicated = service["Spec"]["Mode"].get("Replicated")
    has_several = (replicated["Replicas"] if replicated else len(all_slots)) > 1
    return {
        slot: f"{name}-{nodes[slot].name if slot in nodes else slot}" if has_several else name
        for slot in all_slots
    }


def slot_of(task: Task) -> str:
    """Return a task's slot number, or its node's id for a global service."""
    return str(task.get("Slot") or task.get("NodeID", ""))


def created_at(task: Task) -> str:
    """Return the creation time of a task, as the engine prints it."""
    return str(task["CreatedAt"])


def is_active(task: Task) -> bool:
    """Return True unless the task was replaced or scaled away."""
    return task["DesiredState"] not in _INACTIVE


def has_container(task: Task) -> bool:
    """Return True if the task has, or had, a container."""
    return bool((task["Status"].get("ContainerStatus") or {}).get("ContainerID"))


def is_running(task: Task) -> bool:
    """Return True if the task's container is running or starting."""
    return task["Status"]["State"] in _STATUS


def is_current(service: Service, task: Task) -> bool:
    """Return True if the task has the service's current spec."""
    template, spec = service["Spec"]["TaskTemplate"], task["Spec"]
    return all(template.get(key) == spec.get(key) for key in {*template, *spec} - {"Runtime"})


def _replica(
    name: str, replica: str, service: Service, history: list[Task], nodes: Mapping[str, Node]
) -> Replica:
    task = next(task for task in reversed(history) if is_active(task))
    failed = [
        past
        for past in history
        if past is not task and past["Status"]["State"] in _FAILED and past["Spec"] == task["Spec"]
    ]
    state = task["Status"]["State"]
    status = _STATUS.get(state, Status.EXITED if state in _ENDED else Status.CREATED)
    running = status is Status.RUNNING
    current = is_current(service, task)
    container = task["Status"].get("ContainerStatus") or {}
    node = nodes.get(task.get("NodeID", ""))
    return Replica(
        service=name,
        replica=replica,
        node=node.name if node else "",
        status=status,
        health=("healthy" if state == "running" and current else "starting") if running else None,
        # Only the container's node knows its start time. The task is created just before.
        started_at=timestamps.parse(created_at(task)) if running else None,
        restarts=len(failed),
        image=task["Spec"]["ContainerSpec"]["Image"],
        ports=tuple(dict.fromkeys(_ports(task, node))),
        exit_code=container.get("ExitCode") if status is Status.EXITED else None,
        reason=_reason(task, failed, current),
        identity=task["ID"],
        grace=_grace(task),
    )


def _ports(task: Task, node: Node | None) -> Iterable[str]:
    for port in (task["Status"].get("PortStatus") or {}).get("Ports") or ():
        if port.get("PublishMode") == "host" and node:
            yield f"{node.address}:{port['PublishedPort']}"


def _reason(task: Task, failed: list[Task], current: bool) -> str:
    if not current:
        return "waiting for its update"
    reason = "" if task["Status"]["State"] == "running" else error_message(task)
    if failed and not reason:
        failed_at = timestamps.parse(failed[-1]["Status"]["Timestamp"])
        reason = f"it replaced a task that failed at {failed_at:%H:%M:%S} UTC: {error_message(failed[-1])}"
    return reason


def error_message(task: Task) -> str:
    """Return the first line of Swarm's error message for a task; empty if there is none."""
    text = str(task["Status"].get("Err") or "")
    return text.removeprefix("task: ").strip().splitlines()[0][:200] if text else ""


def with_readiness_reason(replica: Replica, readiness: Readiness) -> Replica:
    """Return the replica with a readiness body in its reason replaced by a short text."""
    if not readiness.url:
        return replica
    try:
        body = json.loads(replica.reason)
    except ValueError:
        return replica
    if not isinstance(body, dict):
        return replica
    answer = Answer("", 503, body, 0.0)
    return replace(replica, reason=read_health(answer, replica, readiness).reason)


def _grace(task: Task) -> int:
    nanoseconds = task["Spec"]["ContainerSpec"].get("StopGracePeriod")
    return int(nanoseconds / 1e9) if nanoseconds else engine.GRACE
