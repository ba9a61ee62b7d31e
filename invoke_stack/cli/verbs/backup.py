"""Save the database to a file, and put such a file in its place."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from invoke_stack.cli.glue import DRY_RUN, RUNTIME, Context, confirm, say, show_plan, start, verb

if TYPE_CHECKING:
    from invoke_stack.commands.backup import Archive


@verb(runtime=RUNTIME)
def backup(context: Context, runtime: str = "") -> None:
    """Save the database to a file in backups/, and read it back.

    PostgreSQL's own pg_dump writes its custom format; only you can read the file.
    Its checksum lies beside it. Its path is all that is printed on stdout.

    Examples:
      inv backup
      file=$(inv backup)

    Exit codes: 0 saved, and read back; 2 the database is not this stack's; 4 the
    stack is not up, or the disk is full.
    """
    from invoke_stack.commands.backup import back_up

    archive = back_up(start(context, runtime), datetime.now(UTC))
    say(f"{_described(archive)}; it holds your data: only you can read it")
    print(archive.path)


@verb(
    file="a file that inv backup wrote",
    yes="do not ask before replacing the database",
    dry_run=DRY_RUN,
    runtime=RUNTIME,
)
def restore(
    context: Context, file: str, yes: bool = False, dry_run: bool = False, runtime: str = ""
) -> None:
    """Put a backup in place of the database: inv restore FILE.

    The file is checked first; a damaged one, or one with a newer schema, is
    refused. It is restored beside the present database, which goes on serving and
    then stays under another name; an older schema is migrated. It asks before.

    Examples:
      inv restore backups/deal_scout-20260131T120000Z-0003.dump --dry-run
      inv restore backups/deal_scout-20260131T120000Z-0003.dump --yes

    Exit codes: 0 restored, and ready; 2 the file cannot be used; 3 it could not
    be restored to the end, or is not ready afterwards; 4 the stack is not up; 130
    you said no.
    """
    from invoke_stack.commands.backup import (
        check_archive,
        find_server,
        restore_archive,
        restore_steps,
    )

    session = start(context, runtime)
    archive, schema = check_archive(session, Path(file))
    say(f"{archive.path}: {_described(archive)}; the database is at {schema['current']}")
    if not archive.has_checksum:
        say(f"note: there is no {archive.path.name}.sha256, so small damage would not be seen")
    if dry_run:
        plan = restore_steps(find_server(session), archive, schema["head"], datetime.now(UTC))
        show_plan(plan, session.runtime.name, False)
        return
    if not yes:
        confirm("Put it in the place of the database?")
    restore_archive(session, archive, schema["head"], datetime.now(UTC))
    say(f"restored, and {session.config.service} is ready")


def _described(archive: Archive) -> str:
    size = archive.size / 1024
    shown = f"{size:.1f} KiB" if size < 1024 else f"{size / 1024:.1f} MiB"
    return f"{shown}, {archive.tables} tables, revision {archive.revision or 'none'}"
