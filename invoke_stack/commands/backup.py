"""Back the database up to a file, and restore it from one.

PostgreSQL's own programs run beside the server, so nothing has to be installed on this machine.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from invoke_stack.commands.migrations import apply_pending, read_schema
from invoke_stack.commands.session import Session
from invoke_stack.commands.up import wait_until_ready
from invoke_stack.errors import BadInput, CommandFailed, NotHealthy, StackError
from invoke_stack.model import Step
from invoke_stack.profile import Database
from invoke_stack.runtimes.base import Runtime, Say

FOLDER = "backups"
READY_TIMEOUT = 60.0  # seconds for the application to be ready with the restored database
REPORT_EVERY = 10.0  # seconds between two progress messages of a long dump

# Maps the variables of PostgreSQL's image to those that PostgreSQL's own programs read.
_AS_OWNER = """
password=${POSTGRES_PASSWORD:-$(cat "${POSTGRES_PASSWORD_FILE:-/dev/null}")}
export PGUSER="${PGUSER:-${POSTGRES_USER:-postgres}}" PGPASSWORD="${PGPASSWORD:-$password}"
export PGDATABASE="${PGDATABASE:-${POSTGRES_DB:-$PGUSER}}" PGAPPNAME=inv PGCONNECT_TIMEOUT=10
exec "$@"
"""
_MAGIC = b"PGDMP"  # the first bytes of every archive in pg_dump's custom format


@dataclass(frozen=True)
class Archive:
    """A file in pg_dump's custom format that was read to its end."""

    path: Path
    size: int  # bytes
    revision: str  # of its schema; empty if Alembic never ran
    tables: int  # with data
    has_checksum: bool = False  # the file beside it has its checksum, which matches


@dataclass(frozen=True)
class Server:
    """The stack's PostgreSQL server, and the runtime that runs its programs."""

    runtime: Runtime
    database: Database


def back_up(session: Session, now: datetime) -> Archive:
    """Save the database to a new file, under the stack's lock. Raises `StackError`."""
    server = find_server(session)
    # Fails for a stack that is not up, before the lock is taken.
    session.runtime.replicas(server.database.service, probe=False)
    with session.locked("backup"):
        return save(server, session.config.root / FOLDER, now, session.say)


def find_server(session: Session) -> Server:
    """Return the stack's own server. Raises `BadInput` if the project does not use it."""
    database = session.config.profile.database
    if database is None:
        raise BadInput(
            "the profile defines no database",
            "back it up with the database's own tool",
        )
    url = session.config.variables.get(database.url, "")
    is_elsewhere = url and urlsplit(url).hostname != database.service
    if session.runtime.capabilities.containers and is_elsewhere:
        raise BadInput(
            f"{database.url} points to a server outside this stack",
            "use pg_dump and pg_restore on it; inv backup supports only the stack's own server",
        )
    return Server(session.runtime, database)


def save(server: Server, folder: Path, now: datetime, say: Say) -> Archive:
    """Dump the database to a new file in `folder` that only its owner can read, and verify it.

    The file gets its final name once it is flushed to disk and verified. Raises `StackError`.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for leftover in folder.glob("*.partial"):  # of a killed backup: only one runs at a time
        leftover.unlink()
    partial = folder / f"{now:%Y%m%dT%H%M%SZ}.partial"
    try:
        partial.touch(mode=0o600, exist_ok=False)
        with partial.open("wb") as sink, _reporting_size(partial, say):
            say("dumping the database (pg_dump)")
            # Fails if another session holds a table's lock for long, instead of waiting.
            _run(server, "pg_dump", "--format=custom", "--lock-wait-timeout=60s", sink=sink)
            sink.flush()
            os.fsync(sink.fileno())
        say("verifying the backup (pg_restore)")
        archive = read_archive(server, partial)
        name = server.database.name
        final = folder / f"{name}-{now:%Y%m%dT%H%M%SZ}-{archive.revision or 'empty'}.dump"
        _checksum_file(final).touch(mode=0o600)
        _checksum_file(final).write_text(f"{_checksum(partial)}  {final.name}\n", "utf-8")
        partial.rename(final)
        return replace(archive, path=final, has_checksum=True)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _reporting_size(partial: Path, say: Say) -> Iterator[None]:
    """Report the size of a growing dump every `REPORT_EVERY` seconds."""
    done = threading.Event()

    def report() -> None:
        seconds = 0.0
        while not done.wait(REPORT_EVERY):
            seconds += REPORT_EVERY
            size = partial.stat().st_size / 1024**2
            say(f"waiting for pg_dump: {seconds:.0f} s, {size:.1f} MiB so far")

    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _checksum_file(path: Path) -> Path:
    """Return the path of a backup's checksum, in the format of `sha256sum --check`."""
    return path.with_name(f"{path.name}.sha256")


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_archive(server: Server, path: Path) -> Archive:
    """Read an archive to its end. Raises `BadInput` if it is damaged or no archive at all."""
    try:
        with path.open("rb") as source:
            if source.read(len(_MAGIC)) != _MAGIC:
                raise BadInput(
                    f"{path} is not a pg_dump archive", "use a file that inv backup wrote"
                )
        checksum_file = _checksum_file(path)
        has_checksum = checksum_file.exists()
        if has_checksum and checksum_file.read_text("utf-8", "replace")[:64] != _checksum(path):
            raise BadInput(
                f"{path} is damaged: its checksum is not the one in {checksum_file.name}",
                "use an older backup",
            )
        _read(server, "pg_restore", "--file=/dev/null", source=path)
        contents = _read(server, "pg_restore", "--list", source=path)
        revision = _read(
            server, "pg_restore", "--data-only", "--table=alembic_version", "--file=-", source=path
        )
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}", "use a file that inv backup wrote") from None
    except CommandFailed as error:
        if "pg_restore" not in error.message:
            raise
        raise BadInput(f"{path} is damaged: {error.message}", "use an older backup") from None
    match = re.search(r"^COPY [^\n]*alembic_version[^\n]*\n([^\n\\]+)\n", revision, re.M)
    tables = len(re.findall(r"^\d+; \d+ \d+ TABLE DATA ", contents, re.M))
    return Archive(path, path.stat().st_size, match[1] if match else "", tables, has_checksum)


def check_revision(archive: Archive, revisions: Sequence[str]) -> None:
    """Raise `BadInput` if the archive's revision is not one of this checkout's `revisions`."""
    if archive.revision and archive.revision not in revisions:
        raise BadInput(
            f"{archive.path} has revision {archive.revision}, which this checkout does not have",
            "check out the version that wrote it, then: inv up --build; nothing was changed",
        )


def restore_steps(server: Server, archive: Archive, head: str, now: datetime) -> list[Step]:
    """Return the steps of `restore`. Raises `StackError`."""
    name, new, old = _database_names(server, now)
    steps = [
        Step("create", new, f"restore {archive.path} into it; {name} stays in use"),
        Step("rename", name, f"to {old}, which is kept; open transactions are aborted"),
        Step("rename", new, f"to {name}, in the same transaction"),
    ]
    if archive.revision != head:
        steps.append(Step("migrate", name, f"to {head}: the backup is older than the code"))
    return steps


def _database_names(server: Server, now: datetime) -> tuple[str, str, str]:
    """Return the names of the database, of the restored one, and of the previous one after the swap."""
    name = _read(server, "sh", "-c", 'echo "$PGDATABASE"').strip()
    if not re.fullmatch(r"[\w-]+", name):
        raise BadInput(
            f"cannot restore into a database named {name!r}", "restore by hand, with pg_restore"
        )
    stamp = f"{now:%Y%m%d_%H%M%S}"
    return name, f"{name}_new_{stamp}", f"{name}_before_{stamp}"


def check_archive(session: Session, path: Path) -> tuple[Archive, dict[str, Any]]:
    """Check that a file can be restored; return it and the schema report of `read_schema`.

    Raises `BadInput` if it cannot.
    """
    server = find_server(session)
    schema = read_schema(session)
    archive = read_archive(server, path)
    check_revision(archive, schema["known"])
    return archive, schema


def restore_archive(session: Session, archive: Archive, head: str, now: datetime) -> None:
    """Replace the database by an archive, migrate it to `head`, and wait until the stack is ready.

    The previous database is kept under another name. Raises `StackError`.
    """
    with session.locked("restore"):
        old = replace_database(find_server(session), archive, now, session.say)
        session.say(f"the previous database is kept as {old}; to delete it: DROP DATABASE {old}")
        if archive.revision != head:
            session.say(f"the backup is older than the code: migrating it to {head}")
            apply_pending(session)
        wait_until_ready(session, timeout=READY_TIMEOUT)


def replace_database(server: Server, archive: Archive, now: datetime, say: Say) -> str:
    """Replace the database by the archive; return the new name of the previous one.

    The archive is restored into a new database while the previous one stays in use. Both are renamed in
    one transaction; a failure before that leaves the previous one unchanged. Raises `StackError`.
    """
    name, new, old = _database_names(server, now)
    say(f"restoring into the new database {new}")
    try:
        _sql(server, f'CREATE DATABASE "{new}" TEMPLATE template0')
        try:
            _run(
                *(server, "pg_restore", "--exit-on-error", "--no-owner", f"--dbname={new}"),
                source=archive.path,
            )
        except CommandFailed as error:
            raise NotHealthy(
                f"{archive.path} cannot be restored: {error.message}",
                "see pg_restore's output above; the database is unchanged; use another backup",
            ) from None
        say("swapping the databases: open transactions are aborted")
        _sql(server, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        try:
            _sql(
                server,
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",  # noqa: S608  # letters, digits, _ and -
            )
            _sql(
                server,
                f'BEGIN; ALTER DATABASE "{name}" RENAME TO "{old}";'
                f' ALTER DATABASE "{new}" RENAME TO "{name}"; COMMIT',
            )
        except StackError:
            _sql(server, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
            raise
        _sql(server, f'ALTER DATABASE "{old}" ALLOW_CONNECTIONS true')
    except BaseException:
        with suppress(StackError):
            _sql(server, f'DROP DATABASE IF EXISTS "{new}" WITH (FORCE)')
        raise
    return old


def _sql(server: Server, text: str) -> None:
    """Run statements in the maintenance database: a session cannot rename its own database."""
    options = ("--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--dbname=postgres")
    _read(server, "psql", *options, f"--command={text}")


def _run(
    server: Server, *arguments: str, source: Path | None = None, sink: BinaryIO | None = None
) -> None:
    command = ("sh", "-c", _AS_OWNER, "sh", *arguments)
    if source is None:
        server.runtime.pipe(server.database.service, command, sink=sink)
        return
    with source.open("rb") as file:
        server.runtime.pipe(server.database.service, command, source=file, sink=sink)


def _read(server: Server, *arguments: str, source: Path | None = None) -> str:
    import tempfile

    with tempfile.TemporaryFile() as sink:
        _run(server, *arguments, source=source, sink=sink)
        sink.seek(0)
        return io.TextIOWrapper(sink, "utf-8", "replace").read()
