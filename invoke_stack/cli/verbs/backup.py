"""Back up the database to a file, and restore it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from invoke_stack.cli.glue import (
    DRY_RUN,
    RUNTIME,
    Context,
    confirm,
    open_session,
    say,
    show_plan,
    verb,
)

if TYPE_CHECKING:
    from invoke_stack.commands.backup import Archive


@verb(changes=True, runtime=RUNTIME)
def backup(context: Context, runtime: str = "") -> None:
    """Back up the database to a file in backups/, and verify it.

    Uses the custom format of PostgreSQL's pg_dump. Only you can read the file.
    Writes a checksum file beside it, and prints the path to stdout.

    Examples:
      inv backup
      file=$(inv backup)

    Exit codes: 0 saved and verified; 2 the database is not part of this stack; 4
    the stack is not up, is locked by another command or belongs to another
    checkout, or the disk is full.
    """
    from invoke_stack.commands.backup import back_up

    archive = back_up(open_session(context, runtime), datetime.now(UTC))
    say(f"{_describe(archive)}; it contains your data, and only you can read it")
    print(archive.path)


@verb(
    changes=True,
    file="a file written by inv backup",
    yes="do not ask for confirmation",
    dry_run=DRY_RUN,
    runtime=RUNTIME,
)
def restore(
    context: Context, file: str, yes: bool = False, dry_run: bool = False, runtime: str = ""
) -> None:
    """Replace the database with a backup: inv restore FILE.

    Checks the file first, and rejects it if it is damaged or has a newer schema.
    The current database keeps serving during the restore, and is kept under
    another name afterwards. An older schema is migrated. Asks for confirmation.

    Examples:
      inv restore backups/deal_scout-20260131T120000Z-0003.dump --dry-run
      inv restore backups/deal_scout-20260131T120000Z-0003.dump --yes

    Exit codes: 0 restored and ready; 2 the file cannot be used; 3 the restore
    failed, or the backend is not ready afterwards; 4 the stack is not up,
    is locked by another command or belongs to another checkout; 130 not
    confirmed.
    """
    from invoke_stack.commands.backup import (
        check_archive,
        find_server,
        restore_archive,
        restore_steps,
    )

    session = open_session(context, runtime)
    archive, schema = check_archive(session, Path(file))
    say(f"{archive.path}: {_describe(archive)}; the database is at {schema['current']}")
    if not archive.has_checksum:
        say(f"notice: no {archive.path.name}.sha256, so minor damage would go unnoticed")
    if dry_run:
        plan = restore_steps(find_server(session), archive, schema["head"], datetime.now(UTC))
        show_plan(plan, session.runtime.name, False)
        return
    if not yes:
        confirm("Replace the database with this backup?")
    restore_archive(session, archive, schema["head"], datetime.now(UTC))
    say(f"restored; {session.config.service} is ready")


def _describe(archive: Archive) -> str:
    kib = archive.size / 1024
    size = f"{kib:.1f} KiB" if kib < 1024 else f"{kib / 1024:.1f} MiB"
    return f"{size}, {archive.tables} tables, revision {archive.revision or 'none'}"
