"""Compare the schema revision of the database with the revisions in alembic/versions.

`python -m app.health.schema` prints JSON: {"current", "head", "pending", "known"}. "known" are all
revisions in alembic/versions; it and "pending" are sorted oldest first.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

import psycopg2
from alembic.script import ScriptDirectory
from alembic.util import to_tuple

from app import database
from app.settings import BadSetting, load

TIMEOUT = 3.0  # seconds for one operation of the command


@dataclass(frozen=True)
class Scripts:
    """The revisions in alembic/versions, oldest first, each with its ancestors."""

    ancestors: Mapping[str, frozenset[str]]
    heads: tuple[str, ...]


@dataclass(frozen=True)
class Schema:
    """The applied and pending revisions. None if unknown."""

    current: tuple[str, ...] | None = None
    head: tuple[str, ...] | None = None
    pending: tuple[str, ...] | None = None
    ahead: bool = False  # at a revision that is not in alembic/versions

    def body(self) -> dict[str, object]:
        """Return the body of /migrations; several revisions are joined by commas."""
        return {
            "current": ",".join(self.current or ()) or None,
            "head": ",".join(self.head or ()) or None,
            "pending": None if self.pending is None else list(self.pending),
        }


def load_scripts() -> Scripts:
    """Read alembic/versions under the working directory.

    Runs the code of the revisions, so it may raise any exception.
    """
    directory = ScriptDirectory("alembic")
    ancestors: dict[str, frozenset[str]] = {}
    for script in reversed(list(directory.walk_revisions())):
        parents = to_tuple(script.down_revision, default=())
        ancestors[script.revision] = frozenset(parents).union(*(ancestors[p] for p in parents))
    return Scripts(ancestors, tuple(directory.get_heads()))


def read_current(connection: psycopg2.extensions.connection) -> tuple[str, ...]:
    """Return the revisions of the database; empty if Alembic never ran.

    The connection must be in autocommit mode. Raises `psycopg2.Error`.
    """
    with connection.cursor() as cursor:
        try:
            cursor.execute("SELECT version_num FROM alembic_version ORDER BY 1")
        except psycopg2.errors.UndefinedTable:
            return ()
        return tuple(revision for (revision,) in cursor.fetchall())


def compare(scripts: Scripts | None, current: tuple[str, ...] | None) -> Schema:
    """Compare the revisions of the database with the scripts; None if unknown."""
    if scripts is None or current is None:
        return Schema(current=current, head=scripts.heads if scripts else None)
    if any(revision not in scripts.ancestors for revision in current):
        return Schema(current=current, head=scripts.heads, pending=(), ahead=True)
    applied = frozenset(current).union(*(scripts.ancestors[revision] for revision in current))
    pending = tuple(revision for revision in scripts.ancestors if revision not in applied)
    return Schema(current=current, head=scripts.heads, pending=pending)


def main() -> int:
    """Print the revisions as JSON and return the exit code."""
    try:
        scripts = load_scripts()
    except Exception as error:
        return _fail(f"cannot read the revisions in alembic/versions: {error}")
    try:
        settings = load()
        connection = database.connect(settings, "schema", TIMEOUT, statement_timeout="2s")
        with closing(connection):
            connection.autocommit = True
            current = read_current(connection)
    except BadSetting as error:
        return _fail(str(error))
    except psycopg2.Error as error:
        return _fail(f"cannot query the database: {error}")
    print(json.dumps(compare(scripts, current).body() | {"known": list(scripts.ancestors)}))
    return 0


def _fail(reason: str) -> int:
    print(" ".join(reason.split()), file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
