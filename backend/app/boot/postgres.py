"""Check that Postgres answers a query."""

from __future__ import annotations

import contextlib
import select
import time

import psycopg2
from psycopg2 import extensions

from app.settings import Settings


def select_one(settings: Settings, timeout: float) -> None:
    """Connect to Postgres and run `SELECT 1`, both within `timeout` seconds.

    libpq's connect_timeout limits the connection only: a server that freezes after it would block
    the query for ever. Raises `psycopg2.Error` or `TimeoutError`.
    """
    deadline = time.monotonic() + timeout
    connection = psycopg2.connect(**settings.postgres_arguments(async_=True))
    with contextlib.closing(connection):
        _wait_for_operation(connection, deadline)
        cursor = connection.cursor()
        cursor.execute("SELECT 1")
        _wait_for_operation(connection, deadline)
        cursor.close()


def _wait_for_operation(connection: extensions.connection, deadline: float) -> None:
    while (state := connection.poll()) != extensions.POLL_OK:
        poller = select.poll()  # select.select() fails for descriptors above 1023
        poller.register(
            connection.fileno(),
            select.POLLIN if state == extensions.POLL_READ else select.POLLOUT,
        )
        if not poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise TimeoutError("no answer in time")
