"""Whether Postgres, Redis and the schema are all right, known within about a second at any time.

Every check runs in a thread and on a connection of its own, away from the domain's traffic.
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
from app.health.check import PATIENCE, Check
from app.settings import Settings
from app.worker import broker

NEW_SESSION_EVERY = 10.0  # seconds between two looks whether the database takes new sessions
NEW_SESSION_PATIENCE = 3.0  # seconds for one to open

Result = TypeVar("Result")


@dataclass(frozen=True)
class Health:
    """What the checks found."""

    db: bool
    queue_depth: int | None  # None when Redis does not answer
    schema: schema.Schema
    boot_failed: bool  # the entrypoint gave up on the migrations

    @property
    def redis(self) -> bool:
        return self.queue_depth is not None

    @property
    def ok(self) -> bool:
        return self.db and self.redis

    @property
    def ready(self) -> bool:
        return self.ok and self.migrations == "current"

    @property
    def migrations(self) -> str:
        """`current`, `behind`, `ahead`, `failed` or `unknown`."""
        if self.schema.ahead:
            return "ahead"
        one_head = len(self.schema.head or ()) == 1
        if one_head and self.schema.pending == ():
            return "current"
        if self.boot_failed:
            return "failed"
        return "behind" if one_head and self.schema.pending else "unknown"

    def body(self) -> dict[str, object]:
        return health_body(
            db=self.db, queue_depth=self.queue_depth, phase="serving", migrations=self.migrations
        )


class Monitor:
    """Asks the dependencies that `settings` name. One a process; make and use it in its loop."""

    def __init__(self, settings: Settings) -> None:
        self._run_dir = settings.run_dir
        self._scripts: schema.Scripts | None = None
        self._current: tuple[str, ...] | None = None
        self._known = (schema.Schema(), False)

        database_session = _Session(settings)
        # A migration may lock alembic_version for long: give up early, and keep what was known.
        schema_session = _Session(settings, lock_timeout="250ms", statement_timeout="1s")
        client = broker.client(settings, PATIENCE)
        self._db = Check(lambda: database_session.use(_select_one))
        # A postmaster that hangs leaves its old sessions working, and lets in nobody new.
        self._new_session = Check(lambda: _open_session(settings), NEW_SESSION_EVERY)
        self._queue = Check(lambda: broker.depth(client))
        self._schema = Check(lambda: self._look_at_schema(schema_session))
        self._heartbeats = Check(lambda: heartbeat.ages(client))
        self._phases = Check(lambda: progress.phases(progress.read(self._run_dir), time.time()))

    async def read(self) -> Health:
        """The state now; it takes little more than `PATIENCE` at worst."""
        checks = (self._db, self._new_session, self._queue, self._schema)
        if all(check.fresh for check in checks):  # nearly always, and then no task is needed
            db, opens = self._db.known, self._new_session.known
            queue_depth, known = self._queue.known, self._schema.known
        else:
            db, opens, queue_depth, known = await asyncio.gather(
                self._db.result(),
                self._new_session.latest(),
                self._queue.result(),
                self._schema.result(),
            )
        self._known = known or self._known
        return Health(bool(db and opens), queue_depth, *self._known)

    async def overview(self) -> tuple[Health, dict[str, object]]:
        """The state now, and all that is known of the last boot, the worker and beat."""
        health, phases, heartbeats = await asyncio.gather(
            self.read(), self._phases.result(), self._heartbeats.result()
        )
        known = {"phases": [phase.body() for phase in phases or ()], "heartbeats": heartbeats}
        return health, health.body() | known

    def _look_at_schema(self, session: _Session) -> tuple[schema.Schema, bool]:
        with suppress(psycopg2.Error):
            self._current = session.use(schema.read_current)
        if self._scripts is None:
            with suppress(Exception):  # a broken revision may raise anything
                self._scripts = schema.load_scripts()
        boot_failed = progress.read(self._run_dir).get("migrations") == "failed"
        return schema.compare(self._scripts, self._current), boot_failed


class _Session:
    """One connection, opened when it is needed and again after it was lost."""

    def __init__(self, settings: Settings, **session: object) -> None:
        self._settings = settings
        self._session = session
        self._connection: psycopg2.extensions.connection | None = None

    def use(self, ask: Callable[[psycopg2.extensions.connection], Result]) -> Result:
        if self._connection is None or self._connection.closed or _is_lost(self._connection):
            self._connection = database.connect(self._settings, "health", PATIENCE, **self._session)
            self._connection.autocommit = True
        return ask(self._connection)


def _is_lost(connection: psycopg2.extensions.connection) -> bool:
    """Whether the server has ended an idle connection: there is nothing else it could have sent."""
    poller = select.poll()
    poller.register(connection.fileno(), select.POLLIN)
    return bool(poller.poll(0))


def _open_session(settings: Settings) -> bool:
    database.connect(settings, "new session", NEW_SESSION_PATIENCE).close()
    return True


def _select_one(connection: psycopg2.extensions.connection) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        return cursor.fetchone() == (1,)
