"""Does Postgres really answer?"""

from __future__ import annotations

import contextlib
import select
import time

import psycopg2
from psycopg2 import extensions

from app.settings import Settings


def select_one(settings: Settings, seconds: float) -> None:
    """Connect to Postgres and run `SELECT 1`, all of it within `seconds`.

    libpq's connect_timeout would bound the connection alone: a server that freezes after it would
    hold the query for ever. Raises `psycopg2.Error` or `TimeoutError`.
    """
    deadline = time.monotonic() + seconds
    connection = psycopg2.connect(**settings.postgres(async_=True))
    with contextlib.closing(connection):
        _finish(connection, deadline)
        cursor = connection.cursor()
        cursor.execute("SELECT 1")
        _finish(connection, deadline)
        cursor.close()


def _finish(connection: extensions.connection, deadline: float) -> None:
    while (state := connection.poll()) != extensions.POLL_OK:
        poll = select.poll()  # select.select() fails where descriptors go beyond 1023
        poll.register(
            connection.fileno(),
            select.POLLIN if state == extensions.POLL_READ else select.POLLOUT,
        )
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise TimeoutError("no answer in time")
