"""Change the number of replicas of a service."""

from __future__ import annotations

from invoke_stack.commands.session import Session
from invoke_stack.commands.up import wait_until_ready
from invoke_stack.errors import BadInput, OutOfReach
from invoke_stack.runtimes.base import Scale


def scale_service(session: Session, service: str, count: int, *, timeout: float) -> None:
    """Scale a service to `count` replicas, and wait until the stack is ready.

    Raises `BadInput` if the service cannot be scaled, and `NotHealthy` after `timeout` seconds.
    """
    with session.locked(f"scale {service}"):
        find_scale(session, service, count)(service, count, dry_run=False)
        wait_until_ready(session, timeout=timeout)


def find_scale(session: Session, service: str, count: int) -> Scale:
    """Return the runtime's function that scales a service.

    Raises `BadInput` if the runtime has none, with another way to scale, and `OutOfReach` for an
    unknown service.
    """
    if scale := session.runtime.capabilities.scale:
        return scale
    if service not in (services := session.runtime.expected_services()):
        raise OutOfReach(f"no service {service!r}", f"available: {', '.join(services)}")
    number = f"{service}={count}"
    raise BadInput(
        f"the {session.runtime.name} runtime cannot scale services",
        f"with Docker: inv scale {number} --runtime swarm,"
        f" or docker compose up --detach --no-recreate --scale {number}",
    )
