"""Replicas that Swarm's tasks stand for."""

import json

import pytest

from deal_scout_profile import PROFILE
from invoke_stack.model import Replica, Status
from invoke_stack.profile import DEFAULT_PROFILE
from invoke_stack.runtimes.swarm.slots import Node, is_current, replicas_of, with_readiness_reason

READY = PROFILE.readiness
NODES = {"n1": Node("one", "10.0.0.1", True), "n2": Node("two", "10.0.0.2", False)}
SPEC = {"ContainerSpec": {"Image": "web:1"}, "ForceUpdate": 0}


def service(replicas=1, spec=SPEC):
    mode = {"Replicated": {"Replicas": replicas}} if replicas else {"Global": {}}
    return {"ID": "s", "Spec": {"TaskTemplate": spec | {"Runtime": "container"}, "Mode": mode}}


def task(second, state="running", desired="running", slot=1, node="n1", spec=SPEC, **status):
    return {
        "ID": f"t{second}",
        "CreatedAt": f"2026-01-31T12:00:{second:02}.123456789Z",
        "Spec": spec,
        "NodeID": node,
        "Status": {"State": state, "Timestamp": f"2026-01-31T12:00:{second:02}Z"} | status,
        "DesiredState": desired,
    } | ({"Slot": slot} if slot else {})


def replicas(details, *tasks):
    return replicas_of("web", details, tasks, NODES)


def test_replica_is_healthy_once_its_task_is_running():
    (starting,) = replicas(service(), task(1, "starting"))
    assert (starting.status, starting.health) == (Status.RUNNING, "starting")
    (up,) = replicas(service(), task(1))
    assert (up.replica, up.node, up.health, up.identity) == ("web", "one", "healthy", "t1")


def test_newer_task_represents_the_slot_during_a_start_first_update():
    (replica,) = replicas(service(), task(2, "preparing"), task(1))
    assert (replica.identity, replica.status, replica.started_at) == ("t2", Status.CREATED, None)


def test_replaced_task_is_not_a_replica():
    (replica,) = replicas(service(), task(1, "shutdown", "shutdown"), task(2))
    assert replica.identity == "t2"
    assert replica.restarts == 0


def test_failed_tasks_count_as_restarts_and_give_the_reason():
    failed = task(1, "failed", "shutdown", Err="task: non-zero exit (1)")
    rejected = task(2, "rejected", "shutdown", Err="No such image: web:1")
    (replica,) = replicas(service(), failed, rejected, task(3, "ready", "ready"))
    assert (replica.status, replica.restarts) == (Status.CREATED, 2)
    assert replica.reason == "it replaced a task that failed at 12:00:02 UTC: No such image: web:1"


def test_failed_tasks_of_a_previous_spec_do_not_count():
    previous = task(1, "failed", "shutdown", spec=SPEC | {"ForceUpdate": 7}, Err="task: old")
    (replica,) = replicas(service(), previous, task(2))
    assert (replica.restarts, replica.reason) == (0, "")


def test_unschedulable_task_has_the_reason_of_swarm():
    reason = "no suitable node (insufficient resources on 2 nodes)"
    (replica,) = replicas(service(), task(1, "pending", node="", Err=reason))
    assert (replica.status, replica.node, replica.reason) == (Status.CREATED, "", reason)


def test_task_that_waits_for_its_update_is_starting():
    newer = service(spec=SPEC | {"ForceUpdate": 1})
    assert is_current(service(), task(1))
    assert not is_current(newer, task(1))
    (replica,) = replicas(newer, task(1))
    assert (replica.status, replica.health, replica.reason) == (
        Status.RUNNING,
        "starting",
        "waiting for its update",
    )


def test_replicas_are_numbered_by_slot_and_include_unscheduled_ones():
    listed = replicas(service(3), task(1, slot=2), task(2, slot=10, node="n2"))
    assert [(r.replica, r.node, r.status) for r in listed] == [
        ("web-1", "", Status.CREATED),
        ("web-2", "one", Status.RUNNING),
        ("web-10", "two", Status.RUNNING),
    ]


def test_task_that_was_scaled_away_is_not_a_replica():
    removed = task(1, "shutdown", "shutdown", slot=2)
    assert [r.replica for r in replicas(service(1), task(1), removed)] == ["web"]
    assert replicas(service(0) | {"Spec": service(1)["Spec"] | {"Mode": zero()}}, removed) == []


def zero():
    return {"Replicated": {"Replicas": 0}}


def test_global_replica_is_named_after_its_node_and_has_its_port():
    ports = {"Ports": [{"PublishMode": "host", "PublishedPort": 3000, "TargetPort": 8080}] * 2}
    one = task(1, slot=0, PortStatus=ports)
    two = task(2, slot=0, node="n2")
    listed = replicas(service(0), one, two)
    assert [(r.replica, r.ports) for r in listed] == [
        ("web-one", ("10.0.0.1:3000",)),
        ("web-two", ()),
    ]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            {"phase": "migrating", "attempt": 2, "attempts": 6},
            "applying migrations, attempt 2 of 6",
        ),
        (
            {"phase": "serving", "migrations": "failed"},
            "the schema is not current (migrations: failed)",
        ),
        ({"phase": "serving", "redis": False}, "Redis does not answer"),
    ],
)
def test_readiness_body_of_the_health_check_becomes_a_reason(body, reason):
    output = json.dumps({"db": True, "redis": True} | body)
    replica = Replica("web", "web", "one", Status.RUNNING, reason=output)
    assert with_readiness_reason(replica, READY).reason == reason


def test_readiness_body_is_kept_without_a_profile():
    output = json.dumps({"db": False})
    replica = Replica("web", "web", "one", Status.RUNNING, reason=output)
    assert with_readiness_reason(replica, DEFAULT_PROFILE.readiness).reason == output


@pytest.mark.parametrize("output", ["PONG", "1", "", '{"cut": '])
def test_other_output_of_a_health_check_is_kept(output):
    replica = Replica("web", "web", "one", Status.RUNNING, reason=output)
    assert with_readiness_reason(replica, READY).reason == output
