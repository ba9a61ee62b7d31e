"""Apply the migrations: one process at a time, and each revision in its own transaction.

A failure prints one line on stderr with the cause and exits with code 1.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import sys
import time
import traceback
from collections.abc import Iterator
from logging.config import fileConfig
from pathlib import Path
from typing import NoReturn

import psycopg2
from alembic import context
from alembic.util import CommandError
from app.boot import blockers
from app.settings import BadSetting, load
from sqlalchemy import MetaData, create_engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

LOCK = 0x6465616C73  # an arbitrary number, which must never change
LOCK_TIMEOUT = 60.0  # seconds to wait for the migrations of another process
POLL_INTERVAL = 0.25  # seconds

SERVER_PARAMETERS = {
    # A migration that waits for a table blocks all later queries on that table.
    "lock_timeout": "5s",
    # The server releases the locks of a lost client within about 5 s, even during a statement.
    "client_connection_check_interval": "1s",
    "tcp_keepalives_idle": 2,
    "tcp_keepalives_interval": 1,
    "tcp_keepalives_count": 3,
    "idle_session_timeout": 0,
}

HOLDER = blockers.SESSIONS.format("""ARRAY(
    SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = (
        SELECT oid FROM pg_database WHERE datname = current_database()
    ) AND (classid::bigint << 32) + objid::bigint = %s
)""")

log = logging.getLogger("alembic.deal_scout")


def main() -> None:
    """Run the migrations or, in offline mode, print their SQL."""
    options = {"target_metadata": target_metadata(), "transaction_per_migration": True}
    if context.is_offline_mode():
        context.configure(dialect_name="postgresql", literal_binds=True, **options)
        context.run_migrations()
        return
    engine = create_engine("postgresql+psycopg2://", creator=connect, poolclass=NullPool)
    with engine.connect() as connection:
        context.configure(connection=connection, **options)
        only_reads = context.get_context().opts.get("dont_mutate", False)
        with contextlib.nullcontext() if only_reads else lock():
            # Alembic reads the current revision in here, after the lock was acquired, so it does
            # not repeat the migrations of another process.
            pid = connection.connection.driver_connection.info.backend_pid
            blocking = blockers.Blockers(connect, pid)
            try:
                with blocking.logged(), context.begin_transaction():
                    context.run_migrations()
            except OperationalError as error:
                if isinstance(error.orig, psycopg2.errors.LockNotAvailable):
                    fail(f"{cause(error)}; blocked by {blocking.last}")
                raise


def target_metadata() -> MetaData | None:
    """Return the tables for `alembic check` and `alembic revision --autogenerate`.

    None for `alembic upgrade`, which runs at every boot: the ORM is slow to import.
    """
    name = context.config.cmd_opts.cmd[0].__name__ if context.config.cmd_opts else ""
    if name == "upgrade":
        return None
    from app.domain import models

    return models.Base.metadata


def connect() -> psycopg2.extensions.connection:
    """Open a connection, or print the error and exit."""
    settings = load()
    try:
        return psycopg2.connect(
            **settings.postgres_arguments(
                SERVER_PARAMETERS,
                application_name="deal-scout migrations",
                connect_timeout=5,
                keepalives_idle=2,
                keepalives_interval=1,
                keepalives_count=3,
            )
        )
    except psycopg2.OperationalError as error:
        address = f"{settings.db_host}:{settings.db_port}"
        fail(f"cannot reach the database at {address}: {error}")


@contextlib.contextmanager
def lock() -> Iterator[None]:
    """Hold the migration lock, an advisory lock, in a session that ends with this process.

    The session polls in autocommit mode: a transaction that waits for the lock would deadlock with
    a CREATE INDEX CONCURRENTLY, which waits for all transactions.
    """
    deadline = time.monotonic() + LOCK_TIMEOUT
    holder = None
    with contextlib.closing(connect()) as session, session.cursor() as cursor:
        session.autocommit = True
        while not fetch_row(cursor, "SELECT pg_try_advisory_lock(%s)")[0]:
            if holder is None and (row := fetch_row(cursor, HOLDER)):
                holder = blockers.describe(*row)
                log.info(
                    "Another process is migrating: %s. Waiting up to %.0f s", holder, LOCK_TIMEOUT
                )
            if time.monotonic() > deadline:
                fail(
                    f"timed out after {LOCK_TIMEOUT:.0f} s waiting for the migration lock: {holder}"
                )
            time.sleep(POLL_INTERVAL)
        yield


def fetch_row(cursor: psycopg2.extensions.cursor, query: str) -> tuple[object, ...] | None:
    """Run a query about the lock and return the first row."""
    cursor.execute(query, [LOCK])
    return cursor.fetchone()


def fail(reason: str) -> NoReturn:
    """Print the reason in one line, in Alembic's own format, and exit."""
    print("FAILED:", " ".join(reason.split()), file=sys.stderr)
    sys.exit(1)


def cause(error: Exception) -> str:
    """Return one line with the location in the revision, without the statement and its values."""
    locations = [
        f"{Path(frame.filename).name}:{frame.lineno}: "
        for frame in traceback.extract_tb(error.__traceback__)
        if "versions" in Path(frame.filename).parts
    ]
    if isinstance(error, SyntaxError):
        locations = [f"{Path(error.filename or '').name}:{error.lineno}: "]
        error = SyntaxError(error.msg)
    original = str(getattr(error, "orig", None) or f"{type(error).__name__}: {error}")
    return "".join([*locations[-1:], *original.splitlines()[:1]])


fileConfig(context.config.config_file_name, disable_existing_loggers=False)
try:
    main()
except (BadSetting, CommandError) as error:
    fail(str(error))
except Exception as error:
    fail(cause(error))
# Skip the garbage collection at exit, which takes 50 ms.
gc.freeze()
