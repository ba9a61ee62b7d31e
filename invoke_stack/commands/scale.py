"""Give a service more or fewer replicas."""

from __future__ import annotations

from invoke_stack.commands import up
from invoke_stack.commands.session import Session


def scale(session: Session, service: str, count: int, *, timeout: float) -> None:
    """Have a service run with `count` replicas, and wait until the stack is ready.

    Raises `BadInput` where that cannot be, and `NotHealthy` after `timeout` seconds.
    """
    with session.changing(f"scale {service}"):
        session.runtime.scale(service, count, dry_run=False)
        up.wait(session, timeout=timeout)
