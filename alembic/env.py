"""Applies the migrations: one process at a time, each revision in a transaction of its own.

What goes wrong becomes one line on stderr that names the cause, and exit code 1.
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

LOCK = 0x6465616C73  # any number will do, as long as it never changes
LOCK_WAIT = 60.0  # seconds that another process may take with its migrations
LOCK_POLL = 0.25  # seconds

SESSION = {
    # A migration that waits for a table makes every query behind it wait too.
    "lock_timeout": "5s",
    # The server notices within about 5 s that this process or its machine is gone, in the middle
    # of a statement too, and lets go of its locks.
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
    options = {"target_metadata": tables(), "transaction_per_migration": True}
    if context.is_offline_mode():
        context.configure(dialect_name="postgresql", literal_binds=True, **options)
        context.run_migrations()
        return
    engine = create_engine("postgresql+psycopg2://", creator=connect, poolclass=NullPool)
    with engine.connect() as connection:
        context.configure(connection=connection, **options)
        only_reads = context.get_context().opts.get("dont_mutate", False)
        with contextlib.nullcontext() if only_reads else lock():
            # Alembic reads the database's revision here, hence after the lock was taken:
            # what another process applied meanwhile is not applied again.
            pid = connection.connection.driver_connection.info.backend_pid
            waiting = blockers.Blockers(connect, pid)
            try:
                with waiting.told(), context.begin_transaction():
                    context.run_migrations()
            except OperationalError as error:
                if isinstance(error.orig, psycopg2.errors.LockNotAvailable):
                    fail(f"{cause(error)}; it waited for {waiting.last}")
                raise


def tables() -> MetaData | None:
    """What `alembic check` and `alembic revision --autogenerate` compare the database with.

    Every start of the backend upgrades, which needs none of it, and the ORM is slow to import.
    """
    name = context.config.cmd_opts.cmd[0].__name__ if context.config.cmd_opts else ""
    if name == "upgrade":
        return None
    from app.domain import models

    return models.Base.metadata


def connect() -> psycopg2.extensions.connection:
    settings = load()
    try:
        return psycopg2.connect(
            **settings.postgres(
                session=SESSION,
                application_name="deal-scout migrations",
                connect_timeout=5,
                keepalives_idle=2,
                keepalives_interval=1,
                keepalives_count=3,
            )
        )
    except psycopg2.OperationalError as error:
        where = f"{settings.db_host}:{settings.db_port}"
        fail(f"cannot reach the database at {where}: {error}")


@contextlib.contextmanager
def lock() -> Iterator[None]:
    """Hold the migrations' advisory lock, on a session of its own that ends with this process.

    The session is in autocommit and only polls: one that blocked inside a transaction would wait
    for a CREATE INDEX CONCURRENTLY, which in turn waits for all transactions.
    """
    deadline = time.monotonic() + LOCK_WAIT
    holder = None
    with contextlib.closing(connect()) as session, session.cursor() as cursor:
        session.autocommit = True
        while not ask(cursor, "SELECT pg_try_advisory_lock(%s)")[0]:
            if holder is None and (row := ask(cursor, HOLDER)):
                holder = blockers.describe(*row)
                log.info("Another process migrates: %s. Waiting up to %.0f s", holder, LOCK_WAIT)
            if time.monotonic() > deadline:
                fail(f"the migrations' lock was not free within {LOCK_WAIT:.0f} s: {holder}")
            time.sleep(LOCK_POLL)
        yield


def ask(cursor: psycopg2.extensions.cursor, query: str) -> tuple[object, ...] | None:
    cursor.execute(query, [LOCK])
    return cursor.fetchone()


def fail(reason: str) -> NoReturn:
    print("FAILED:", " ".join(reason.split()), file=sys.stderr)  # as Alembic itself does
    sys.exit(1)


def cause(error: Exception) -> str:
    """An error in one line: where in the migrations, without the statement and its values."""
    where = [
        f"{Path(frame.filename).name}:{frame.lineno}: "
        for frame in traceback.extract_tb(error.__traceback__)
        if "versions" in Path(frame.filename).parts
    ]
    if isinstance(error, SyntaxError):
        where = [f"{Path(error.filename or '').name}:{error.lineno}: "]
        error = SyntaxError(error.msg)
    original = str(getattr(error, "orig", None) or f"{type(error).__name__}: {error}")
    return "".join([*where[-1:], *original.splitlines()[:1]])


fileConfig(context.config.config_file_name, disable_existing_loggers=False)
try:
    main()
except (BadSetting, CommandError) as error:
    fail(str(error))
except Exception as error:
    fail(cause(error))
# Python looks through everything once more before it ends: 50 ms for what is freed with the process.
gc.freeze()
