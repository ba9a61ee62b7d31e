"""Stop the stack."""

from __future__ import annotations

from invoke_stack.commands.session import Session
from invoke_stack.runtimes import record


def list_data(session: Session) -> tuple[str, ...]:
    """Return the names of what `down` deletes with `volumes`. Raises `OutOfReach`."""
    return session.runtime.data()


def take_down(session: Session, *, volumes: bool) -> None:
    """Stop the stack, and delete its data with `volumes`. Raises `OutOfReach`."""
    with session.changing("down"):
        session.runtime.down(volumes=volumes, say=session.say)
        if volumes:
            record.remove(session.config.state, session.runtime.name)
