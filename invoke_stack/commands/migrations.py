"""Where the schema stands, and how it is brought to its newest revision."""

from __future__ import annotations

import json
from typing import Any

from invoke_stack.commands.session import Session
from invoke_stack.errors import BadInput, CommandFailed, NotHealthy
from invoke_stack.profile import SchemaAccess


def read_schema(session: Session) -> dict[str, Any]:
    """Return the keys `current`, `head`, `pending` and `known` of the schema's own report.

    Raises `BadInput` for a project without one.
    """
    schema = _schema(session)
    try:
        output = session.runtime.execute(session.config.service, schema.report, 30)
    except CommandFailed as error:
        if schema.folder not in error.message:
            raise
        raise NotHealthy(
            error.message, "mend the revision that it names, or check out the one before it"
        ) from None
    return dict(json.loads(output))


def _schema(session: Session) -> SchemaAccess:
    if schema := session.config.profile.schema:
        return schema
    raise BadInput(
        f"nothing is known about the schema of {session.config.service}",
        "migrate it with the project's own tool",
    )


def apply_pending(session: Session) -> None:
    """Run Alembic beside the service, with its lock, and see that the schema is current then."""
    try:
        session.runtime.pipe(session.config.service, _schema(session).upgrade)
    except CommandFailed:
        raise NotHealthy(
            "a migration failed, as Alembic says above; what it began is undone",
            "mend it, and try again: inv migrate",
        ) from None
    reached = read_schema(session)
    if reached["pending"]:
        raise NotHealthy(
            f"still pending: {', '.join(reached['pending'])}", "see: inv logs --grep entrypoint"
        )
    session.say(f"the schema is at its head, {reached['head']}")
