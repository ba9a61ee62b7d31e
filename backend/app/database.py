"""Connections to Postgres with a timeout for every operation.

libpq has no read timeout: a statement sent to a frozen server, or into a network that drops
packets, never returns. psycopg2 can delegate the waiting to a callback, and the one below times
out.
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

TIMEOUT = 2.5  # seconds for one operation of the domain; a request needs two of them at worst

# What a database that is down, frozen, locked, read-only or not migrated yet can raise. DataError
# and IntegrityError are bugs of the application, and not included.
DATABASE_UNAVAILABLE = (
    exc.OperationalError,
    exc.InterfaceError,
    exc.InternalError,
    exc.ProgrammingError,
    exc.TimeoutError,
)

# The kernel drops a silent peer after about the same time.
KEEPALIVES = {
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "tcp_user_timeout": 10_000,  # milliseconds
}


class _Connection(psycopg2.extensions.connection):
    def __init__(self, dsn: str, timeout: float) -> None:
        self.timeout = timeout
        super().__init__(dsn)


_EVENTS = {
    psycopg2.extensions.POLL_READ: select.POLLIN,
    psycopg2.extensions.POLL_WRITE: select.POLLOUT,
}


def _wait_for_operation(connection: _Connection) -> None:
    """Wait for one operation. Raising makes psycopg2 close the connection."""
    deadline = time.monotonic() + connection.timeout
    while (state := connection.poll()) != psycopg2.extensions.POLL_OK:
        seconds = deadline - time.monotonic()
        poller = select.poll()
        poller.register(connection.fileno(), _EVENTS[state])
        if seconds <= 0 or not poller.poll(seconds * 1000):
            raise psycopg2.OperationalError(f"no answer within {connection.timeout:g} s")


def connect(
    settings: Settings, application: str, timeout: float, **server_parameters: object
) -> psycopg2.extensions.connection:
    """Open a connection on which every operation ends within `timeout` seconds.

    That includes opening it. `application` appears in pg_stat_activity.
    """
    psycopg2.extensions.set_wait_callback(_wait_for_operation)  # from here on process-wide
    return psycopg2.connect(
        **settings.postgres_arguments(
            server_parameters,
            application_name=f"deal-scout {application}",
            connection_factory=functools.partial(_Connection, timeout=timeout),
            **KEEPALIVES,
        )
    )


@functools.cache
def engine() -> Engine:
    """Return the domain's connection pool, created on first use: a forked worker has its own."""
    settings = load()

    def open_connection() -> psycopg2.extensions.connection:
        return connect(
            settings,
            "domain",
            TIMEOUT,
            TimeZone="UTC",
            statement_timeout="2s",
            idle_in_transaction_session_timeout="10s",
        )

    return create_engine(
        "postgresql+psycopg2://",
        creator=open_connection,
        hide_parameters=True,  # keeps values out of error logs
        pool_pre_ping=True,
        pool_size=5,
        max_overflow=15,
        pool_timeout=2,
    )


def transaction() -> AbstractContextManager[Session]:
    """Open a session for one `with` block and commit it at the end."""
    return sessionmaker(engine(), expire_on_commit=False).begin()
