"""Show the revision of the schema, and apply pending migrations."""

from __future__ import annotations

from invoke_stack.cli.glue import (
    DRY_RUN,
    JSON,
    RUNTIME,
    Context,
    make_console,
    open_session,
    say,
    verb,
)
from invoke_stack.errors import NotHealthy
from invoke_stack.model import Schema
from invoke_stack.render import documents


@verb(json=JSON, runtime=RUNTIME)
def migrations(context: Context, json: bool = False, runtime: str = "") -> None:
    """Show the schema revision and the pending migrations.

    Runs in the backend's environment, and works even if the backend does not
    answer.

    Examples:
      inv migrations
      inv migrations --json | jq -r '.pending[]'

    Exit codes: 0 shown, even if some are pending; 2 the profile defines no
    schema; 3 a revision cannot be read; 4 the stack is not up, or the database
    does not answer.
    """
    from rich.markup import escape

    from invoke_stack.cli.screen import table
    from invoke_stack.commands.migrations import read_schema

    report = read_schema(open_session(context, runtime, needs_variables=False))
    schema = Schema(report["current"], report["head"], tuple(report["pending"]))
    if json:
        print(documents.dumps(documents.schema_json(schema)))
        return
    console = make_console()
    console.print(table.schema_line(schema))
    for revision in schema.pending or ():
        console.print(f"  pending: {escape(revision)}")


@verb(changes=True, dry_run=DRY_RUN, runtime=RUNTIME)
def migrate(context: Context, dry_run: bool = False, runtime: str = "") -> None:
    """List the pending migrations, then apply them.

    The backend applies them at every start; use this between starts. A lock in
    the database allows one run at a time. See docs/operations.md.

    Examples:
      inv migrate --dry-run
      inv migrate

    Exit codes: 0 at head; 3 a migration failed or is still pending, or the
    schema is newer than the code; 4 the stack is not up, is locked by another
    command or belongs to another checkout.
    """
    from invoke_stack.commands.migrations import apply_pending, read_schema

    session = open_session(context, runtime)
    report = read_schema(session)
    if not report["pending"]:
        if report["current"] not in (report["head"], None):
            raise NotHealthy(
                f"the schema is at {report['current']}, newer than this code's {report['head']}",
                "check out the version that matches it; nothing was changed",
            )
        say(f"nothing to do: the schema is at head, {report['head']}")
        return
    say(f"from {report['current'] or 'an empty database'} to {report['head']}:")
    for revision in report["pending"]:
        say(f"  {revision}")
    if dry_run:
        return
    with session.locked("migrate"):
        apply_pending(session)
