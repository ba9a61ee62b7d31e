"""What a verb that changes the stack would do to it now. Looks, and touches nothing."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from invoke_stack.commands.scale import find_scale
from invoke_stack.commands.session import Session
from invoke_stack.errors import OutOfReach, Unsupervised
from invoke_stack.model import Replica, Step
from invoke_stack.runtimes.base import Runtime


def up(session: Session, *, build: bool, remove_orphans: bool) -> list[Step]:
    """The steps of `up`. Raises `OutOfReach` when it could not begin."""
    runtime = session.runtime
    wanted = runtime.expected_services()
    steps = []
    try:
        present = _present(runtime)
    except Unsupervised as error:
        present = []
        steps.append(Step("end", "what was left", error.message))
    if runtime.will_write_env():
        steps.append(Step("write", ".env", "with new passwords"))
    if build:
        steps.append(Step("build", "the images", "what uses one that changed is recreated"))
    with ThreadPoolExecutor(max(1, len(wanted))) as pool:
        steps += pool.map(lambda name: _for_service(runtime, name, present), wanted)
    action = "remove" if remove_orphans else "leave"
    return steps + [
        Step(action, name, "an orphan: it is in no Compose file") for name in runtime.orphans()
    ]


def _for_service(runtime: Runtime, name: str, present: Sequence[Replica]) -> Step:
    ours = [each for each in present if each.service == name]
    if not ours:
        return Step("start", name, "it does not run")
    if why := runtime.staleness(name):
        return Step("recreate", name, why)
    ended = [each for each in ours if not each.running]
    if ended:
        return Step("start", name, f"it is {ended[0].status}")
    return Step("leave", name, "it runs, and nothing changed")


def down(session: Session, *, volumes: bool) -> list[Step]:
    """The steps of `down`. Raises `OutOfReach` when it could not begin."""
    runtime = session.runtime
    runtime.expected_services()
    try:
        steps = [
            Step("stop" if each.running else "remove", each.replica, f"it is {each.status}")
            for each in _present(runtime)
        ]
    except Unsupervised as error:
        steps = [Step("end", "what was left", error.message)]
    if volumes:
        steps += [Step("delete", name, "for good") for name in runtime.data()]
    return steps


def restart(session: Session, service: str) -> list[Step]:
    """The steps of a restart. Raises `OutOfReach` when there is no such service."""
    steps = [
        Step("restart" if each.running else "start", each.replica, f"it is {each.status}")
        for each in session.runtime.replicas(service, probe=False)
    ]
    if why := session.runtime.staleness(service):
        steps.append(
            Step("leave", service, f"as it was created, though {why}; inv up takes it over")
        )
    return steps


def scale(session: Session, service: str, count: int) -> list[Step]:
    """The steps of `scale`. Raises `BadInput` when the service cannot have so many."""
    find_scale(session, service, count)(service, count, dry_run=True)
    now = sum(each.running for each in session.runtime.replicas(service, probe=False))
    if now == count:
        return [Step("leave", service, f"it has {count} already")]
    return [
        Step("start" if count > now else "stop", service, f"it has {now}, and would have {count}")
    ]


def _present(runtime: Runtime) -> list[Replica]:
    """What there is, running or not; the place has answered before."""
    try:
        return runtime.replicas(probe=False)
    except Unsupervised:
        raise
    except OutOfReach:  # the stack is not up
        return []
