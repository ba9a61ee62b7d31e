"""Swarm's tasks → replicas. Pure.

A replica is a slot of a service, or a node for a service that runs on each. Over time a slot has
several tasks, one for each container that was started in it, and during an update that keeps
serving it has two at once. The newest that is to run stands for the slot.
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

_ENDED = ("shutdown", "remove")  # what a task that is not to run any more is told
_BROKEN = ("failed", "rejected")
_STATUS = {"running": Status.RUNNING, "starting": Status.RUNNING}
_OVER = ("complete", "shutdown", "failed", "rejected", "remove", "orphaned")


class Node(NamedTuple):
    """A machine of the swarm."""

    name: str
    address: str
    is_up: bool


def replicas_of(
    name: str, service: Service, tasks: Iterable[Task], nodes: Mapping[str, Node]
) -> list[Replica]:
    """The replicas of a service as its tasks tell; those not even planned yet are `created`."""
    slots: dict[str, list[Task]] = {}
    for task in sorted(tasks, key=created):
        slots.setdefault(slot_of(task), []).append(task)
    live = {slot: history for slot, history in slots.items() if any(map(is_wanted, history))}
    wanted = service["Spec"]["Mode"].get("Replicated", {}).get("Replicas", len(live))
    unplanned = [n for n in map(str, range(1, wanted + len(live) + 1)) if n not in live]
    names = replica_names(name, service, slots, nodes)
    replicas = [
        _replica(name, names[slot], service, history, nodes) for slot, history in live.items()
    ]
    for slot in unplanned[: max(0, wanted - len(live))]:
        label = f"{name}-{slot}" if wanted > 1 else name
        replicas.append(Replica(name, label, "", Status.CREATED, reason="not planned yet"))
    return sorted(replicas, key=lambda r: (len(r.replica), r.replica))


def replica_names(
    name: str, service: Service, tasks_by_slot: Iterable[str], nodes: Mapping[str, Node]
) -> dict[str, str]:
    """A name for each slot: the service's own when it is to have one replica."""
    slots = list(tasks_by_slot)
    replicated = service["Spec"]["Mode"].get("Replicated")
    several = (replicated["Replicas"] if replicated else len(slots)) > 1
    return {
        slot: f"{name}-{nodes[slot].name if slot in nodes else slot}" if several else name
        for slot in slots
    }


def slot_of(task: Task) -> str:
    return str(task.get("Slot") or task.get("NodeID", ""))


def created(task: Task) -> str:
    return str(task["CreatedAt"])


def is_wanted(task: Task) -> bool:
    """Whether it is, or is to be, a replica: not one that was replaced or scaled away."""
    return task["DesiredState"] not in _ENDED


def has_container(task: Task) -> bool:
    return bool((task["Status"].get("ContainerStatus") or {}).get("ContainerID"))


def is_running(task: Task) -> bool:
    return task["Status"]["State"] in _STATUS


def is_current(service: Service, task: Task) -> bool:
    """Whether a task is what the service asks for now, and not what it is to be updated from."""
    wanted, given = service["Spec"]["TaskTemplate"], task["Spec"]
    return all(wanted.get(key) == given.get(key) for key in {*wanted, *given} - {"Runtime"})


def _replica(
    name: str, replica: str, service: Service, history: list[Task], nodes: Mapping[str, Node]
) -> Replica:
    task = next(task for task in reversed(history) if is_wanted(task))
    broken = [
        each
        for each in history
        if each is not task and each["Status"]["State"] in _BROKEN and each["Spec"] == task["Spec"]
    ]
    state = task["Status"]["State"]
    status = _STATUS.get(state, Status.EXITED if state in _OVER else Status.CREATED)
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
        # The start itself is known to the container's node alone. The task's is a moment before.
        started_at=timestamps.parse(created(task)) if running else None,
        restarts=len(broken),
        image=task["Spec"]["ContainerSpec"]["Image"],
        ports=tuple(dict.fromkeys(_ports(task, node))),
        exit_code=container.get("ExitCode") if status is Status.EXITED else None,
        reason=_reason(task, broken, current),
        identity=task["ID"],
        grace=_grace(task),
    )


def _ports(task: Task, node: Node | None) -> Iterable[str]:
    for port in (task["Status"].get("PortStatus") or {}).get("Ports") or ():
        if port.get("PublishMode") == "host" and node:
            yield f"{node.address}:{port['PublishedPort']}"


def _reason(task: Task, broken: list[Task], current: bool) -> str:
    if not current:
        return "waits for its update"
    told = why(task)
    if task["Status"]["State"] == "running":
        told = ""
    if broken and not told:
        when = timestamps.parse(broken[-1]["Status"]["Timestamp"])
        told = f"it replaced one that failed at {when:%H:%M:%S} UTC: {why(broken[-1])}"
    return told


def why(task: Task) -> str:
    """Why a task does not run, in Swarm's words."""
    error = str(task["Status"].get("Err") or "")
    return error.removeprefix("task: ").strip().splitlines()[0][:200] if error else ""


def explained(replica: Replica, readiness: Readiness) -> Replica:
    """Return it with a reason in words where its health check has printed a readiness body."""
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
