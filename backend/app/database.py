"""Connections to Postgres on which no operation waits for ever.

libpq has no read timeout: a statement sent to a frozen server, or into a network that drops
packets, never returns. psycopg2 can hand the waiting to a callback, and the one below gives up.
"""

from __future__ import annotations

import functools
import select
import time
from contextlib import AbstractContextManager

import psycopg2
import psycopg2.extensions
from sqlalchemy import Engine, create_engine, exc
from sqlalchemy.orm import Session, sessionmaker

from app.settings import Settings, load

PATIENCE = 2.5  # seconds for one operation of the domain; a request needs two of them at worst

# All that a database which is away, frozen, locked, read-only or not migrated yet can raise.
# Not DataError and IntegrityError: those are ours.
DATABASE_AWAY = (
    exc.OperationalError,
    exc.InterfaceError,
    exc.InternalError,
    exc.ProgrammingError,
    exc.TimeoutError,
)

# The kernel gives up on a silent peer after about as long as we do.
NETWORK = {
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "tcp_user_timeout": 10_000,  # milliseconds
}


class _Connection(psycopg2.extensions.connection):
    def __init__(self, dsn: str, patience: float) -> None:
        self.patience = patience
        super().__init__(dsn)


_EVENTS = {
    psycopg2.extensions.POLL_READ: select.POLLIN,
    psycopg2.extensions.POLL_WRITE: select.POLLOUT,
}


def _wait(connection: _Connection) -> None:
    """Wait for one operation. Raising makes psycopg2 close the connection."""
    deadline = time.monotonic() + connection.patience
    while (state := connection.poll()) != psycopg2.extensions.POLL_OK:
        left = deadline - time.monotonic()
        poller = select.poll()
        poller.register(connection.fileno(), _EVENTS[state])
        if left <= 0 or not poller.poll(left * 1000):
            raise psycopg2.OperationalError(f"no answer within {connection.patience:g} s")


def connect(
    settings: Settings, application: str, patience: float, **session: object
) -> psycopg2.extensions.connection:
    """Open a connection on which every operation, opening included, ends within `patience` s.

    `application` shows in pg_stat_activity; `session` are server parameters for this connection.
    """
    psycopg2.extensions.set_wait_callback(_wait)  # of the whole process, from here on
    return psycopg2.connect(
        **settings.postgres(
            session=session,
            application_name=f"deal-scout {application}",
            connection_factory=functools.partial(_Connection, patience=patience),
            **NETWORK,
        )
    )


@functools.cache
def engine() -> Engine:
    """The domain's pool, made at its first use so that a forked worker has one of its own."""
    settings = load()

    def open_connection() -> psycopg2.extensions.connection:
        return connect(
            settings,
            "domain",
            PATIENCE,
            TimeZone="UTC",
            statement_timeout="2s",
            idle_in_transaction_session_timeout="10s",
        )

    return create_engine(
        "postgresql+psycopg2://",
        creator=open_connection,
        hide_parameters=True,  # a log of errors must not become one of values
        pool_pre_ping=True,
        pool_size=5,
        max_overflow=15,
        pool_timeout=2,
    )


def transaction() -> AbstractContextManager[Session]:
    """A session for one `with` block, committed at its end."""
    return sessionmaker(engine(), expire_on_commit=False).begin()
