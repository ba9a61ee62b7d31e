"""Which replicas Swarm's tasks mean."""

import json

import pytest

from deal_scout_profile import PROFILE
from invoke_stack.model import Replica, Status
from invoke_stack.profile import DEFAULT_PROFILE
from invoke_stack.runtimes.swarm.slots import Node, explained, is_current, replicas_of

READY = PROFILE.readiness
NODES = {"n1": Node("one", "10.0.0.1", True), "n2": Node("two", "10.0.0.2", False)}
SPEC = {"ContainerSpec": {"Image": "web:1"}, "ForceUpdate": 0}


def service(replicas=1, spec=SPEC):
    mode = {"Replicated": {"Replicas": replicas}} if replicas else {"Global": {}}
    return {"ID": "s", "Spec": {"TaskTemplate": spec | {"Runtime": "container"}, "Mode": mode}}


def task(second, state="running", wanted="running", slot=1, node="n1", spec=SPEC, **status):
    return {
        "ID": f"t{second}",
        "CreatedAt": f"2026-01-31T12:00:{second:02}.123456789Z",
        "Spec": spec,
        "NodeID": node,
        "Status": {"State": state, "Timestamp": f"2026-01-31T12:00:{second:02}Z"} | status,
        "DesiredState": wanted,
    } | ({"Slot": slot} if slot else {})


def replicas(known, *tasks):
    return replicas_of("web", known, tasks, NODES)


def test_a_replica_is_up_once_swarm_calls_its_task_running():
    (starting,) = replicas(service(), task(1, "starting"))
    assert (starting.status, starting.health) == (Status.RUNNING, "starting")
    (up,) = replicas(service(), task(1))
    assert (up.replica, up.node, up.health, up.identity) == ("web", "one", "healthy", "t1")


def test_during_an_update_that_keeps_serving_the_newer_task_stands_for_the_slot():
    (seen,) = replicas(service(), task(2, "preparing"), task(1))
    assert (seen.identity, seen.status, seen.started_at) == ("t2", Status.CREATED, None)


def test_a_task_that_was_replaced_is_no_replica():
    (seen,) = replicas(service(), task(1, "shutdown", "shutdown"), task(2))
    assert seen.identity == "t2"
    assert seen.restarts == 0


def test_what_failed_before_is_counted_and_told():
    failed = task(1, "failed", "shutdown", Err="task: non-zero exit (1)")
    rejected = task(2, "rejected", "shutdown", Err="No such image: web:1")
    (seen,) = replicas(service(), failed, rejected, task(3, "ready", "ready"))
    assert (seen.status, seen.restarts) == (Status.CREATED, 2)
    assert seen.reason == "it replaced one that failed at 12:00:02 UTC: No such image: web:1"


def test_failures_of_a_former_version_do_not_count():
    former = task(1, "failed", "shutdown", spec=SPEC | {"ForceUpdate": 7}, Err="task: old")
    (seen,) = replicas(service(), former, task(2))
    assert (seen.restarts, seen.reason) == (0, "")


def test_a_task_that_cannot_be_placed_says_why():
    reason = "no suitable node (insufficient resources on 2 nodes)"
    (seen,) = replicas(service(), task(1, "pending", node="", Err=reason))
    assert (seen.status, seen.node, seen.reason) == (Status.CREATED, "", reason)


def test_what_waits_for_its_update_is_not_ready():
    newer = service(spec=SPEC | {"ForceUpdate": 1})
    assert is_current(service(), task(1))
    assert not is_current(newer, task(1))
    (seen,) = replicas(newer, task(1))
    assert (seen.status, seen.health, seen.reason) == (
        Status.RUNNING,
        "starting",
        "waits for its update",
    )


def test_replicas_have_the_numbers_of_their_slots_and_those_to_come_are_shown():
    seen = replicas(service(3), task(1, slot=2), task(2, slot=10, node="n2"))
    assert [(r.replica, r.node, r.status) for r in seen] == [
        ("web-1", "", Status.CREATED),
        ("web-2", "one", Status.RUNNING),
        ("web-10", "two", Status.RUNNING),
    ]


def test_scaled_away_is_gone():
    gone = task(1, "shutdown", "shutdown", slot=2)
    assert [r.replica for r in replicas(service(1), task(1), gone)] == ["web"]
    assert replicas(service(0) | {"Spec": service(1)["Spec"] | {"Mode": zero()}}, gone) == []


def zero():
    return {"Replicated": {"Replicas": 0}}


def test_one_on_each_node_is_named_after_it_with_its_port():
    ports = {"Ports": [{"PublishMode": "host", "PublishedPort": 3000, "TargetPort": 8080}] * 2}
    one = task(1, slot=0, PortStatus=ports)
    two = task(2, slot=0, node="n2")
    seen = replicas(service(0), one, two)
    assert [(r.replica, r.ports) for r in seen] == [
        ("web-one", ("10.0.0.1:3000",)),
        ("web-two", ()),
    ]


@pytest.mark.parametrize(
    ("said", "means"),
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
def test_what_the_probe_printed_is_told_in_words(said, means):
    printed = json.dumps({"db": True, "redis": True} | said)
    seen = explained(Replica("web", "web", "one", Status.RUNNING, reason=printed), READY)
    assert seen.reason == means


def test_what_a_probe_printed_stays_as_it_is_in_a_project_without_a_profile():
    printed = json.dumps({"db": False})
    replica = Replica("web", "web", "one", Status.RUNNING, reason=printed)
    assert explained(replica, DEFAULT_PROFILE.readiness).reason == printed


@pytest.mark.parametrize("printed", ["PONG", "1", "", '{"cut": '])
def test_what_another_probe_printed_stays_as_it_is(printed):
    replica = Replica("web", "web", "one", Status.RUNNING, reason=printed)
    assert explained(replica, READY).reason == printed
