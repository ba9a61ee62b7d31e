"""Read the state of the schema, and apply pending migrations."""

from __future__ import annotations

import json
from typing import Any

from invoke_stack.commands.session import Session
from invoke_stack.errors import BadInput, CommandFailed, NotHealthy
from invoke_stack.profile import SchemaAccess


def read_schema(session: Session) -> dict[str, Any]:
    """Return the schema report: `current`, `head`, `pending`, and all revisions as `known`.

    Raises `BadInput` for a project whose schema is unknown, and `NotHealthy` if a revision file
    cannot be read.
    """
    schema = _schema(session)
    try:
        output = session.runtime.execute(session.config.service, schema.report, 30)
    except CommandFailed as error:
        if schema.folder not in error.message:
            raise
        raise NotHealthy(
            error.message, "fix the revision that it names, or check out the version before it"
        ) from None
    return dict(json.loads(output))


def _schema(session: Session) -> SchemaAccess:
    if schema := session.config.profile.schema:
        return schema
    raise BadInput(
        f"the schema of {session.config.service} is unknown to inv",
        "migrate it with the project's own tool",
    )


def apply_pending(session: Session) -> None:
    """Run Alembic beside the service, under its own lock, and check that the schema is current.

    Raises `NotHealthy` if a migration failed or is still pending.
    """
    try:
        session.runtime.pipe(session.config.service, _schema(session).upgrade)
    except CommandFailed:
        raise NotHealthy(
            "a migration failed, see Alembic's output above; its changes were rolled back",
            "fix it and try again: inv migrate",
        ) from None
    schema = read_schema(session)
    if schema["pending"]:
        raise NotHealthy(
            f"still pending: {', '.join(schema['pending'])}", "see: inv logs --grep entrypoint"
        )
    session.say(f"the schema is at its head, {schema['head']}")
