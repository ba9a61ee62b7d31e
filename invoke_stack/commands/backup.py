"""Saving the database to a file, and putting such a file in its place.

The programs are PostgreSQL's own, and run beside the server, so nothing need be installed here.
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
READY_WITHIN = 60.0  # seconds for the application to find its new database
TELL_EVERY = 10.0  # seconds between two lines about a dump that takes long

# What a container of PostgreSQL calls its user and database, as PostgreSQL's own programs read it.
_AS_OWNER = """
password=${POSTGRES_PASSWORD:-$(cat "${POSTGRES_PASSWORD_FILE:-/dev/null}")}
export PGUSER="${PGUSER:-${POSTGRES_USER:-postgres}}" PGPASSWORD="${PGPASSWORD:-$password}"
export PGDATABASE="${PGDATABASE:-${POSTGRES_DB:-$PGUSER}}" PGAPPNAME=inv PGCONNECT_TIMEOUT=10
exec "$@"
"""
_MAGIC = b"PGDMP"  # how every archive of pg_dump's custom format begins


@dataclass(frozen=True)
class Archive:
    """A file of pg_dump's custom format that was read to its end."""

    path: Path
    size: int  # bytes
    revision: str  # of the schema in it; empty where Alembic never ran
    tables: int  # with data
    has_sum: bool = False  # whether it was compared with the checksum beside it


@dataclass(frozen=True)
class Server:
    """The stack's PostgreSQL: its programs run where the runtime has it."""

    runtime: Runtime
    database: Database


def back_up(session: Session, now: datetime) -> Archive:
    """Save the database under the stack's lock, as `save` does. Raises `StackError`."""
    server = find_server(session)
    # A stack that is not up is reported before the lock is taken.
    session.runtime.replicas(server.database.service, probe=False)
    with session.changing("backup"):
        return save(server, session.config.root / FOLDER, now, session.say)


def find_server(session: Session) -> Server:
    """Return the stack's own server. Raises `BadInput` if the project's data is not on it."""
    database = session.config.profile.database
    if database is None:
        raise BadInput(
            "nothing is known about the database of this project",
            "save it with the database's own tool",
        )
    url = session.config.variables.get(database.url, "")
    is_elsewhere = url and urlsplit(url).hostname != database.service
    if session.runtime.capabilities.containers and is_elsewhere:
        raise BadInput(
            f"{database.url} leads to a server that is not this stack's",
            "use PostgreSQL's pg_dump and pg_restore on it; inv backup knows the stack's own alone",
        )
    return Server(session.runtime, database)


def save(server: Server, folder: Path, now: datetime, say: Say) -> Archive:
    """Write the database to a new file in `folder`, for its owner only, and read it back.

    The file has its final name only once it was read back and is on the disk. Raises `StackError`.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in folder.glob("*.partial"):  # by one that was killed: only one runs at a time
        left.unlink()
    partial = folder / f"{now:%Y%m%dT%H%M%SZ}.partial"
    try:
        partial.touch(mode=0o600, exist_ok=False)
        with partial.open("wb") as sink, _telling(partial, say):
            say("writing the database to a file (pg_dump)")
            # A lock that somebody holds for long is told, rather than waited for.
            _run(server, "pg_dump", "--format=custom", "--lock-wait-timeout=60s", sink=sink)
            sink.flush()
            os.fsync(sink.fileno())
        say("reading it back (pg_restore)")
        archive = read_archive(server, partial)
        name = server.database.name
        final = folder / f"{name}-{now:%Y%m%dT%H%M%SZ}-{archive.revision or 'empty'}.dump"
        _sum_file(final).touch(mode=0o600)
        _sum_file(final).write_text(f"{_checksum(partial)}  {final.name}\n", "utf-8")
        partial.rename(final)
        return replace(archive, path=final, has_sum=True)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _telling(partial: Path, say: Say) -> Iterator[None]:
    """Tells now and then how far a dump is, so that one sees whether it still goes on."""
    over = threading.Event()

    def tell() -> None:
        seconds = 0.0
        while not over.wait(TELL_EVERY):
            seconds += TELL_EVERY
            size = partial.stat().st_size / 1024**2
            say(f"waiting for pg_dump: {seconds:.0f} s, {size:.1f} MiB so far")

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _sum_file(path: Path) -> Path:
    """Where its checksum is, as `sha256sum --check` reads it."""
    return path.with_name(f"{path.name}.sha256")


def _checksum(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def read_archive(server: Server, path: Path) -> Archive:
    """Read an archive to its end. Raises `BadInput` when it is none, or is damaged."""
    try:
        with path.open("rb") as source:
            if source.read(len(_MAGIC)) != _MAGIC:
                raise BadInput(
                    f"{path} is no archive of pg_dump", "use a file that inv backup wrote"
                )
        has_sum = _sum_file(path).exists()
        if has_sum and _sum_file(path).read_text("utf-8", "replace")[:64] != _checksum(path):
            raise BadInput(
                f"{path} is damaged: it has another checksum than {_sum_file(path).name} says",
                "use an older backup",
            )
        _read(server, "pg_restore", "--file=/dev/null", source=path)
        contents = _read(server, "pg_restore", "--list", source=path)
        revision = _read(
            server, "pg_restore", "--data-only", "--table=alembic_version", "--file=-", source=path
        )
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}", "name a file that inv backup wrote") from None
    except CommandFailed as error:
        if "pg_restore" not in error.message:
            raise
        raise BadInput(f"{path} is damaged: {error.message}", "use an older backup") from None
    found = re.search(r"^COPY [^\n]*alembic_version[^\n]*\n([^\n\\]+)\n", revision, re.M)
    tables = len(re.findall(r"^\d+; \d+ \d+ TABLE DATA ", contents, re.M))
    return Archive(path, path.stat().st_size, found[1] if found else "", tables, has_sum)


def refuse_unknown(archive: Archive, known: Sequence[str]) -> None:
    """Raise `BadInput` for a schema that this checkout's revisions cannot reach head from."""
    if archive.revision and archive.revision not in known:
        raise BadInput(
            f"{archive.path} holds revision {archive.revision}, which is newer than this code",
            "check out the version that wrote it, then: inv up --build; nothing was changed",
        )


def restore_steps(server: Server, archive: Archive, head: str, now: datetime) -> list[Step]:
    """What `restore` would do, and what comes after it. Raises `StackError`."""
    name, new, kept = _names(server, now)
    planned = [
        Step("create", new, f"{archive.path} is restored into it, while {name} goes on serving"),
        Step("rename", name, f"to {kept}: it stays, but open transactions are ended"),
        Step("rename", new, f"to {name}, in the same transaction"),
    ]
    if archive.revision != head:
        planned.append(Step("migrate", name, f"to {head}: the backup is older than the code"))
    return planned


def _names(server: Server, now: datetime) -> tuple[str, str, str]:
    """Of the database, of the one that is restored, and of the present one afterwards."""
    name = _read(server, "sh", "-c", 'echo "$PGDATABASE"').strip()
    if not re.fullmatch(r"[\w-]+", name):
        raise BadInput(f"the database's name is {name!r}", "restore by hand, with pg_restore")
    stamp = f"{now:%Y%m%d_%H%M%S}"
    return name, f"{name}_new_{stamp}", f"{name}_before_{stamp}"


def check_archive(session: Session, path: Path) -> tuple[Archive, dict[str, Any]]:
    """Check a file before it is restored; return it, and what `read_schema` returns.

    Raises `BadInput` if it cannot be used.
    """
    server = find_server(session)
    schema = read_schema(session)
    archive = read_archive(server, path)
    refuse_unknown(archive, schema["known"])
    return archive, schema


def put_back(session: Session, archive: Archive, head: str, now: datetime) -> None:
    """Put an archive in the place of the database, migrate it to `head`, and wait until all is ready.

    Raises `StackError`; what was there stays under another name.
    """
    with session.changing("restore"):
        kept = replace_database(find_server(session), archive, now, session.say)
        session.say(
            f"the former database stays as {kept}; when you are content: DROP DATABASE {kept}"
        )
        if archive.revision != head:
            session.say(f"the backup is older than the code: migrating it to {head}")
            apply_pending(session)
        wait_until_ready(session, timeout=READY_WITHIN)


def replace_database(server: Server, archive: Archive, now: datetime, say: Say) -> str:
    """Put the archive in the place of the database; returns the name under which that one stays.

    It is restored beside the present database, which goes on serving, and takes its place in one
    transaction. Whatever fails before leaves the present database as it is. Raises `StackError`.
    """
    name, new, kept = _names(server, now)
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
                "the database is as it was; pg_restore says above what is wrong; use another backup",
            ) from None
        say("exchanging the two: open transactions of the application are ended")
        _sql(server, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        try:
            _sql(
                server,
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",  # noqa: S608  # letters, digits, _ and -
            )
            _sql(
                server,
                f'BEGIN; ALTER DATABASE "{name}" RENAME TO "{kept}";'
                f' ALTER DATABASE "{new}" RENAME TO "{name}"; COMMIT',
            )
        except StackError:
            _sql(server, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
            raise
        _sql(server, f'ALTER DATABASE "{kept}" ALLOW_CONNECTIONS true')
    except BaseException:
        with suppress(StackError):
            _sql(server, f'DROP DATABASE IF EXISTS "{new}" WITH (FORCE)')
        raise
    return kept


def _sql(server: Server, text: str) -> None:
    """Run statements in the maintenance database: one cannot rename what one is connected to."""
    quiet = ("--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--dbname=postgres")
    _read(server, "psql", *quiet, f"--command={text}")


def _run(
    server: Server, *words: str, source: Path | None = None, sink: BinaryIO | None = None
) -> None:
    command = ("sh", "-c", _AS_OWNER, "sh", *words)
    if source is None:
        server.runtime.pipe(server.database.service, command, sink=sink)
        return
    with source.open("rb") as opened:
        server.runtime.pipe(server.database.service, command, source=opened, sink=sink)


def _read(server: Server, *words: str, source: Path | None = None) -> str:
    import tempfile

    with tempfile.TemporaryFile() as sink:
        _run(server, *words, source=source, sink=sink)
        sink.seek(0)
        return io.TextIOWrapper(sink, "utf-8", "replace").read()
