"""What a verb would do to the stack now (`--dry-run`). Reads only, changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from invoke_stack.commands.scale import find_scale
from invoke_stack.commands.session import Session
from invoke_stack.errors import OutOfReach, Unsupervised
from invoke_stack.model import Replica, Step
from invoke_stack.runtimes.base import Runtime


def up(session: Session, *, build: bool, remove_orphans: bool) -> list[Step]:
    """Return the steps of `up`. Raises `OutOfReach` if it could not start."""
    runtime = session.runtime
    expected = runtime.expected_services()
    steps = []
    try:
        replicas = _replicas(runtime)
    except Unsupervised as error:
        replicas = []
        steps.append(Step("end", "leftover processes", error.message))
    if runtime.will_write_env():
        steps.append(Step("write", ".env", "with new passwords"))
    if build:
        steps.append(Step("build", "the images", "services with a changed image are recreated"))
    with ThreadPoolExecutor(max(1, len(expected))) as pool:
        steps += pool.map(lambda name: _for_service(runtime, name, replicas), expected)
    action = "remove" if remove_orphans else "leave"
    return steps + [
        Step(action, name, "an orphan: it is in no Compose file") for name in runtime.orphans()
    ]


def _for_service(runtime: Runtime, name: str, replicas: Sequence[Replica]) -> Step:
    ours = [replica for replica in replicas if replica.service == name]
    if not ours:
        return Step("start", name, "it is not running")
    if reason := runtime.staleness(name):
        return Step("recreate", name, reason)
    ended = [replica for replica in ours if not replica.running]
    if ended:
        return Step("start", name, f"its state is {ended[0].status}")
    return Step("leave", name, "it is running and up to date")


def down(session: Session, *, volumes: bool) -> list[Step]:
    """Return the steps of `down`. Raises `OutOfReach` if it could not start."""
    runtime = session.runtime
    runtime.expected_services()
    try:
        steps = [
            Step("stop" if each.running else "remove", each.replica, f"its state is {each.status}")
            for each in _replicas(runtime)
        ]
    except Unsupervised as error:
        steps = [Step("end", "leftover processes", error.message)]
    if volumes:
        steps += [Step("delete", name, "permanently") for name in runtime.data()]
    return steps


def restart(session: Session, service: str) -> list[Step]:
    """Return the steps of `restart`. Raises `OutOfReach` if there is no such service."""
    steps = [
        Step("restart" if each.running else "start", each.replica, f"its state is {each.status}")
        for each in session.runtime.replicas(service, probe=False)
    ]
    if reason := session.runtime.staleness(service):
        steps.append(Step("leave", service, f"it stays out of date: {reason}; inv up applies it"))
    return steps


def scale(session: Session, service: str, count: int) -> list[Step]:
    """Return the steps of `scale`. Raises `BadInput` if the service cannot be scaled to `count`."""
    find_scale(session, service, count)(service, count, dry_run=True)
    replicas = session.runtime.replicas(service, probe=False)
    running = sum(replica.running for replica in replicas)
    if running == count:
        return [Step("leave", service, f"it already has {count}")]
    action = "start" if count > running else "stop"
    return [Step(action, service, f"it has {running}, and would have {count}")]


def _replicas(runtime: Runtime) -> list[Replica]:
    """Return all replicas, running or not. The caller has checked that the runtime responds."""
    try:
        return runtime.replicas(probe=False)
    except Unsupervised:
        raise
    except OutOfReach:  # the stack is not up
        return []
