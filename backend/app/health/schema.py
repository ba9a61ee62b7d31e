"""The database's schema revision against those in alembic/versions.

`python -m app.health.schema` prints it as JSON: {"current", "head", "pending", "known"}, pending and all
known revisions oldest first.
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

PATIENCE = 3.0  # seconds for one operation of the command


@dataclass(frozen=True)
class Scripts:
    """The revisions that alembic/versions holds: each with all it builds on, oldest first."""

    ancestors: Mapping[str, frozenset[str]]
    heads: tuple[str, ...]


@dataclass(frozen=True)
class Schema:
    """What is applied and what is not. None where it is not known."""

    current: tuple[str, ...] | None = None
    head: tuple[str, ...] | None = None
    pending: tuple[str, ...] | None = None
    ahead: bool = False  # at a revision that our scripts do not have

    def body(self) -> dict[str, object]:
        """As JSON: several revisions at once are joined by commas."""
        return {
            "current": ",".join(self.current or ()) or None,
            "head": ",".join(self.head or ()) or None,
            "pending": None if self.pending is None else list(self.pending),
        }


def load_scripts() -> Scripts:
    """Read alembic/versions under the working directory.

    Importing the revisions runs their code, so any exception may come out.
    """
    directory = ScriptDirectory("alembic")
    ancestors: dict[str, frozenset[str]] = {}
    for script in reversed(list(directory.walk_revisions())):
        parents = to_tuple(script.down_revision, default=())
        ancestors[script.revision] = frozenset(parents).union(*(ancestors[p] for p in parents))
    return Scripts(ancestors, tuple(directory.get_heads()))


def read_current(connection: psycopg2.extensions.connection) -> tuple[str, ...]:
    """The revisions that an autocommit connection's database is at; none where Alembic never ran.

    Raises `psycopg2.Error`.
    """
    with connection.cursor() as cursor:
        try:
            cursor.execute("SELECT version_num FROM alembic_version ORDER BY 1")
        except psycopg2.errors.UndefinedTable:
            return ()
        return tuple(revision for (revision,) in cursor.fetchall())


def compare(scripts: Scripts | None, current: tuple[str, ...] | None) -> Schema:
    """Judge the database's revisions by the scripts; either may be unknown."""
    if scripts is None or current is None:
        return Schema(current=current, head=scripts and scripts.heads)
    if any(revision not in scripts.ancestors for revision in current):
        return Schema(current=current, head=scripts.heads, pending=(), ahead=True)
    applied = frozenset(current).union(*(scripts.ancestors[revision] for revision in current))
    pending = tuple(revision for revision in scripts.ancestors if revision not in applied)
    return Schema(current=current, head=scripts.heads, pending=pending)


def main() -> int:
    try:
        scripts = load_scripts()
    except Exception as error:
        return _fail(f"the revisions in alembic/versions cannot be read: {error}")
    try:
        settings = load()
        connection = database.connect(settings, "schema", PATIENCE, statement_timeout="2s")
        with closing(connection):
            connection.autocommit = True
            current = read_current(connection)
    except BadSetting as error:
        return _fail(str(error))
    except psycopg2.Error as error:
        return _fail(f"cannot ask the database: {error}")
    print(json.dumps(compare(scripts, current).body() | {"known": list(scripts.ancestors)}))
    return 0


def _fail(reason: str) -> int:
    print(" ".join(reason.split()), file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
