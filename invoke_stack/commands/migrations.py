"""Where the schema stands, and how it is brought to its newest revision."""

from __future__ import annotations

import json
from typing import Any

from invoke_stack.commands.session import Session
from invoke_stack.errors import BadInput, CommandFailed, NotHealthy


def read(session: Session) -> dict[str, Any]:
    """What `python -m app.schema` tells: current, head, pending and known revisions."""
    if not session.config.is_deal_scout:
        raise BadInput(
            f"{session.config.service} is not known to tell of its schema",
            "inv migrations, migrate, backup and restore are for deal-scout's own stack",
        )
    try:
        told = session.runtime.execute(session.config.service, ("python", "-m", "app.schema"), 30)
    except CommandFailed as error:
        if "alembic/versions" not in error.message:
            raise
        raise NotHealthy(
            error.message, "mend the revision that it names, or check out the one before it"
        ) from None
    return dict(json.loads(told))


def apply(session: Session) -> None:
    """Run Alembic beside the service, with its lock, and see that the schema is current then."""
    upgrade = ("sh", "-c", "exec alembic upgrade head 2>&1")
    try:
        session.runtime.pipe(session.config.service, upgrade)
    except CommandFailed:
        raise NotHealthy(
            "a migration failed, as Alembic says above; what it began is undone",
            "mend it, and try again: inv migrate",
        ) from None
    reached = read(session)
    if reached["pending"]:
        raise NotHealthy(
            f"still pending: {', '.join(reached['pending'])}", "see: inv logs --grep entrypoint"
        )
    session.say(f"the schema is at its head, {reached['head']}")
