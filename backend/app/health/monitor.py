"""The health of Postgres, Redis and the schema, available within about a second at any time.

Every check has its own thread and connection, independent of the domain's traffic.
"""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import psycopg2

from app import database, heartbeat
from app.boot import progress
from app.health import schema
from app.health.body import health_body
from app.health.check import CHECK_TIMEOUT, Check
from app.health.schema import Schema
from app.settings import Settings
from app.worker import broker

NEW_SESSION_INTERVAL = 10.0  # seconds between two checks that Postgres accepts new sessions
NEW_SESSION_TIMEOUT = 3.0  # seconds

Result = TypeVar("Result")


@dataclass(frozen=True)
class Health:
    """The results of the checks."""

    db: bool
    queue_depth: int | None  # None if Redis does not answer
    schema: Schema
    boot_failed: bool  # the migrations failed in the last boot

    @property
    def redis(self) -> bool:
        """True if Redis answers."""
        return self.queue_depth is not None

    @property
    def ok(self) -> bool:
        """True if the database and Redis answer."""
        return self.db and self.redis

    @property
    def ready(self) -> bool:
        """True if the dependencies answer and the schema is current."""
        return self.ok and self.migrations == "current"

    @property
    def migrations(self) -> str:
        """`current`, `behind`, `ahead`, `failed` or `unknown`."""
        if self.schema.ahead:
            return "ahead"
        has_one_head = len(self.schema.head or ()) == 1
        if has_one_head and self.schema.pending == ():
            return "current"
        if self.boot_failed:
            return "failed"
        return "behind" if has_one_head and self.schema.pending else "unknown"

    def body(self) -> dict[str, object]:
        """Return the body of /health."""
        return health_body(
            db=self.db, queue_depth=self.queue_depth, phase="serving", migrations=self.migrations
        )


class Monitor:
    """Checks the dependencies. Create one per process, and use it in the event loop."""

    def __init__(self, settings: Settings) -> None:
        self._run_dir = settings.run_dir
        self._scripts: schema.Scripts | None = None
        self._current: tuple[str, ...] | None = None
        self._last_schema = (Schema(), False)

        database_session = _Session(settings)
        # A migration may lock alembic_version for long: time out early and keep the last result.
        schema_session = _Session(settings, lock_timeout="250ms", statement_timeout="1s")
        client = broker.client(settings, CHECK_TIMEOUT)
        self._db = Check(lambda: database_session.run(_select_one))
        # With a hung postmaster, existing sessions work but new ones cannot be opened.
        self._new_session = Check(lambda: _open_session(settings), NEW_SESSION_INTERVAL)
        self._queue = Check(lambda: broker.depth(client))
        self._schema = Check(lambda: self._check_schema(schema_session))
        self._heartbeats = Check(lambda: heartbeat.ages(client))
        self._phases = Check(lambda: progress.phases(progress.read(self._run_dir), time.time()))

    async def read(self) -> Health:
        """Return the current health; takes little more than `CHECK_TIMEOUT` at worst."""
        if (  # nearly always, and then no task is needed
            self._db.is_fresh
            and self._new_session.is_fresh
            and self._queue.is_fresh
            and self._schema.is_fresh
        ):
            db, can_open = self._db.last, self._new_session.last
            queue_depth, current_schema = self._queue.last, self._schema.last
        else:
            db, can_open, queue_depth, current_schema = await asyncio.gather(
                self._db.result(),
                self._new_session.latest(),
                self._queue.result(),
                self._schema.result(),
            )
        self._last_schema = current_schema or self._last_schema
        return Health(bool(db and can_open), queue_depth, *self._last_schema)

    async def overview(self) -> tuple[Health, dict[str, object]]:
        """Return the current health and the body of /overview."""
        health, phases, heartbeats = await asyncio.gather(
            self.read(), self._phases.result(), self._heartbeats.result()
        )
        body = health.body()
        body |= {"phases": [phase.body() for phase in phases or ()], "heartbeats": heartbeats}
        return health, body

    def _check_schema(self, session: _Session) -> tuple[Schema, bool]:
        with suppress(psycopg2.Error):
            self._current = session.run(schema.read_current)
        if self._scripts is None:
            with suppress(Exception):  # an invalid revision may raise anything
                self._scripts = schema.load_scripts()
        boot_failed = progress.read(self._run_dir).get("migrations") == "failed"
        return schema.compare(self._scripts, self._current), boot_failed


class _Session:
    """A connection that is opened on first use and again after it was lost."""

    def __init__(self, settings: Settings, **server_parameters: object) -> None:
        self._settings = settings
        self._server_parameters = server_parameters
        self._connection: psycopg2.extensions.connection | None = None

    def run(self, query: Callable[[psycopg2.extensions.connection], Result]) -> Result:
        if self._connection is None or self._connection.closed or _is_lost(self._connection):
            self._connection = database.connect(
                self._settings, "health", CHECK_TIMEOUT, **self._server_parameters
            )
            self._connection.autocommit = True
        return query(self._connection)


def _is_lost(connection: psycopg2.extensions.connection) -> bool:
    """Return True if the server closed an idle connection: it sends nothing else on one."""
    poller = select.poll()
    poller.register(connection.fileno(), select.POLLIN)
    return bool(poller.poll(0))


def _open_session(settings: Settings) -> bool:
    database.connect(settings, "new session", NEW_SESSION_TIMEOUT).close()
    return True


def _select_one(connection: psycopg2.extensions.connection) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        return bool(cursor.fetchone() == (1,))
