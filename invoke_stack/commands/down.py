"""Stop the stack."""

from __future__ import annotations

from invoke_stack.commands.session import Session
from invoke_stack.runtimes import record


def list_data(session: Session) -> tuple[str, ...]:
    """Return the names of what `down --volumes` deletes. Raises `OutOfReach`."""
    return session.runtime.data()


def take_down(session: Session, *, volumes: bool) -> None:
    """Stop the stack; with `volumes`, also delete its data. Raises `OutOfReach`."""
    with session.locked("down"):
        session.runtime.down(volumes=volumes, say=session.say)
        if volumes:
            record.remove(session.config.state, session.runtime.name)
