"""Show where the schema stands, and bring it to its newest revision."""

from __future__ import annotations

from invoke_stack.cli.glue import DRY_RUN, JSON, RUNTIME, Context, say, start, terminal, verb
from invoke_stack.errors import NotHealthy
from invoke_stack.model import Schema
from invoke_stack.render import documents


@verb(json=JSON, runtime=RUNTIME)
def migrations(context: Context, json: bool = False, runtime: str = "") -> None:
    """Show where the schema stands, and what is pending.

    Asks beside the backend, so it answers while the backend itself does not.

    Examples:
      inv migrations
      inv migrations --json | jq -r '.pending[]'

    Exit codes: 0 told, whatever it is; 2 another project's stack; 3 a revision
    cannot be read; 4 the stack is not up, or the database does not answer.
    """
    from rich.markup import escape

    from invoke_stack.cli.screen import table
    from invoke_stack.commands.migrations import read_schema

    said = read_schema(start(context, runtime, needs_variables=False))
    schema = Schema(said["current"], said["head"], tuple(said["pending"]))
    if json:
        print(documents.dumps(documents.schema_json(schema)))
        return
    console = terminal()
    console.print(table.schema_line(schema))
    for revision in schema.pending or ():
        console.print(f"  pending: {escape(revision)}")


@verb(dry_run=DRY_RUN, runtime=RUNTIME)
def migrate(context: Context, dry_run: bool = False, runtime: str = "") -> None:
    """Apply the pending migrations, after showing which.

    The backend applies them at each start by itself; this is for between starts.
    A lock in the database lets only one run at a time. Read more in
    docs/operations.md.

    Examples:
      inv migrate --dry-run
      inv migrate

    Exit codes: 0 at head; 3 a migration failed or is still pending, or the schema
    is newer than the code; 4 the stack is not up.
    """
    from invoke_stack.commands.migrations import apply_pending, read_schema

    session = start(context, runtime)
    plan = read_schema(session)
    if not plan["pending"]:
        if plan["current"] not in (plan["head"], None):
            raise NotHealthy(
                f"the schema is at {plan['current']}, which is newer than this code's {plan['head']}",
                "check out the version that it belongs to; nothing was changed",
            )
        say(f"nothing to do: the schema is at its head, {plan['head']}")
        return
    say(f"from {plan['current'] or 'an empty database'} to {plan['head']}:")
    for revision in plan["pending"]:
        say(f"  {revision}")
    if dry_run:
        return
    with session.locked("migrate"):
        apply_pending(session)
