"""Saving the database to a file, and putting such a file in its place.

The programs are PostgreSQL's own, and run beside the server, so nothing need be installed here.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from ops.errors import BadInput, OpsError, OutOfReach
from ops.runtime import Runtime, Say

SERVICE = "postgres"
FOLDER = "backups"

# What a container of PostgreSQL calls its user and database, as PostgreSQL's own programs read it.
_AS_OWNER = """
password=${POSTGRES_PASSWORD:-$(cat "${POSTGRES_PASSWORD_FILE:-/dev/null}")}
export PGUSER="${PGUSER:-${POSTGRES_USER:-postgres}}" PGPASSWORD="${PGPASSWORD:-$password}"
export PGDATABASE="${PGDATABASE:-${POSTGRES_DB:-$PGUSER}}" PGAPPNAME=inv
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


def save(where: Runtime, folder: Path, now: datetime, say: Say) -> Archive:
    """Write the database to a new file in `folder`, for its owner only, and read it back.

    The file has its final name only once it was read back and is on the disk. Raises `OpsError`.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = folder / f"{now:%Y%m%dT%H%M%SZ}.partial"
    try:
        partial.touch(mode=0o600, exist_ok=False)
        with partial.open("wb") as sink:
            say("writing the database to a file (pg_dump)")
            _run(where, "pg_dump", "--format=custom", sink=sink)
            sink.flush()
            os.fsync(sink.fileno())
        say("reading it back (pg_restore)")
        archive = check(where, partial)
        final = folder / f"deal_scout-{now:%Y%m%dT%H%M%SZ}-{archive.revision or 'empty'}.dump"
        partial.rename(final)
        return Archive(final, archive.size, archive.revision, archive.tables)
    finally:
        partial.unlink(missing_ok=True)


def check(where: Runtime, path: Path) -> Archive:
    """Read an archive to its end. Raises `BadInput` when it is none, or is damaged."""
    try:
        with path.open("rb") as source:
            if source.read(len(_MAGIC)) != _MAGIC:
                raise BadInput(
                    f"{path} is no archive of pg_dump", "use a file that inv backup wrote"
                )
        _read(where, "pg_restore", "--file=/dev/null", source=path)
        contents = _read(where, "pg_restore", "--list", source=path)
        revision = _read(
            where, "pg_restore", "--data-only", "--table=alembic_version", "--file=-", source=path
        )
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}", "name a file that inv backup wrote") from None
    except OutOfReach as error:
        if "pg_restore" not in error.message:
            raise
        raise BadInput(f"{path} is damaged: {error.message}", "use an older backup") from None
    found = re.search(r"^COPY [^\n]*alembic_version[^\n]*\n([^\n\\]+)\n", revision, re.M)
    tables = len(re.findall(r"^\d+; \d+ \d+ TABLE DATA ", contents, re.M))
    return Archive(path, path.stat().st_size, found[1] if found else "", tables)


def refuse_unknown(archive: Archive, known: Sequence[str]) -> None:
    """Raise `BadInput` for a schema that this checkout's revisions cannot reach head from."""
    if archive.revision and archive.revision not in known:
        raise BadInput(
            f"{archive.path} holds revision {archive.revision}, which is newer than this code",
            "check out the version that wrote it, then: inv up --build; nothing was changed",
        )


def restore(where: Runtime, archive: Archive, now: datetime, say: Say) -> str:
    """Put the archive in the place of the database; returns the name under which that one stays.

    It is restored beside the present database, which goes on serving, and takes its place in one
    transaction. Whatever fails before leaves the present database as it is. Raises `OpsError`.
    """
    name = _read(where, "sh", "-c", 'echo "$PGDATABASE"').strip()
    if not re.fullmatch(r"[\w-]+", name):
        raise BadInput(f"the database's name is {name!r}", "restore by hand, with pg_restore")
    stamp = f"{now:%Y%m%d_%H%M%S}"
    new, kept = f"{name}_new_{stamp}", f"{name}_before_{stamp}"
    say(f"restoring into the new database {new}")
    try:
        _sql(where, f'CREATE DATABASE "{new}" TEMPLATE template0')
        _run(
            *(where, "pg_restore", "--exit-on-error", "--no-owner", f"--dbname={new}"),
            source=archive.path,
        )
        say("exchanging the two: open transactions of the application are ended")
        _sql(where, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        try:
            _sql(
                where,
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",  # noqa: S608  # letters, digits, _ and -
            )
            _sql(
                where,
                f'BEGIN; ALTER DATABASE "{name}" RENAME TO "{kept}";'
                f' ALTER DATABASE "{new}" RENAME TO "{name}"; COMMIT',
            )
        except OpsError:
            _sql(where, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
            raise
        _sql(where, f'ALTER DATABASE "{kept}" ALLOW_CONNECTIONS true')
    except BaseException:
        with suppress(OpsError):
            _sql(where, f'DROP DATABASE IF EXISTS "{new}" WITH (FORCE)')
        raise
    return kept


def _sql(where: Runtime, text: str) -> None:
    """Run statements in the maintenance database: one cannot rename what one is connected to."""
    quiet = ("--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--dbname=postgres")
    _read(where, "psql", *quiet, f"--command={text}")


def _run(
    where: Runtime, *words: str, source: Path | None = None, sink: BinaryIO | None = None
) -> None:
    command = ("sh", "-c", _AS_OWNER, "sh", *words)
    if source is None:
        where.pipe(SERVICE, command, sink=sink)
        return
    with source.open("rb") as opened:
        where.pipe(SERVICE, command, source=opened, sink=sink)


def _read(where: Runtime, *words: str, source: Path | None = None) -> str:
    import tempfile

    with tempfile.TemporaryFile() as sink:
        _run(where, *words, source=source, sink=sink)
        sink.seek(0)
        return io.TextIOWrapper(sink, "utf-8", "replace").read()
