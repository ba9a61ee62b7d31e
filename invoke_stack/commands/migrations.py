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
            error.message, "fix that file, or check out a version without it"
        ) from None
    return dict(json.loads(output))


def _schema(session: Session) -> SchemaAccess:
    if schema := session.config.profile.schema:
        return schema
    raise BadInput(
        "the profile defines no schema",
        "migrate it with the project's own tool",
    )


def apply_pending(session: Session) -> None:
    """Run Alembic in the environment of the service, under its own lock, and check that the schema is current.

    Raises `NotHealthy` if a migration failed or is still pending.
    """
    try:
        session.runtime.pipe(session.config.service, _schema(session).upgrade)
    except CommandFailed:
        raise NotHealthy(
            "a migration failed and was rolled back; Alembic's output is above",
            "fix it, then: inv migrate (with Docker, first: inv up --build)",
        ) from None
    schema = read_schema(session)
    if schema["pending"]:
        raise NotHealthy(
            f"still pending: {', '.join(schema['pending'])}", "see: inv logs --grep entrypoint"
        )
    session.say(f"the schema is at head, {schema['head']}")
