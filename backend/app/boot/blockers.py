"""Who keeps a migration waiting for a lock: named in the log while it waits, without any value."""

from __future__ import annotations

import contextlib
import logging
import re
import threading
from collections.abc import Callable, Iterator

import psycopg2.extensions

LOOK_EVERY = 0.5  # seconds; lock_timeout is ten times that
LONGEST = 200  # characters of a statement

SESSIONS = """
SELECT coalesce(nullif(application_name, ''), 'somebody'), pid, state,
    to_char(coalesce(xact_start, backend_start), 'HH24:MI:SS TZ'), query
FROM pg_stat_activity WHERE pid = ANY({})
"""
"""Sessions by their process ids, as `describe` takes them."""

Connect = Callable[[], psycopg2.extensions.connection]

log = logging.getLogger("alembic.deal_scout")

# In this order: a quote inside a comment or a name begins nothing.
_WORDS = re.compile(
    r"""
    --[^\n]* | /\*.*?(?:\*/|$)                    # comments: left out
    | (?P<name>"(?:[^"]|"")*(?:"|$))              # a quoted name: kept
    | [eE]'(?:[^'\\]|\\.|'')*(?:'|$)              # values, also those that were cut off
    | '(?:[^']|'')*(?:'|$)
    | \$(?P<tag>\w*)\$.*?(?:\$(?P=tag)\$|$)
    | (?<![\w$])\d[\d.]*(?:[eE][+-]?\d+)?\b
    """,
    re.VERBOSE | re.DOTALL,
)


def describe(application: str, pid: int, state: str | None, since: str, query: str | None) -> str:
    """A session in one line: `psql (pid 12, idle in transaction, since 09:30:01 UTC): LOCK …`."""
    return f"{application} (pid {pid}, {state}, since {since}): {masked(query or '')}"


def masked(query: str) -> str:
    """A statement in one line, with `?` for every value in it: those may be secrets."""

    def replace(match: re.Match[str]) -> str:
        comment = match[0].startswith(("--", "/*"))
        return match["name"] or (" " if comment else "?")

    text = " ".join(_WORDS.sub(replace, query).split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


class Blockers:
    """The sessions that the one of process id `pid` waits for; `last` names them."""

    def __init__(self, connect: Connect, pid: int) -> None:
        self.last = ""
        self._connect = connect
        self._pid = pid
        self._done = threading.Event()

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """Tell of each in the log while the block runs."""
        thread = threading.Thread(target=self._watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._done.set()
            thread.join(1)

    def _watch(self) -> None:
        # What it tells is a help: without a second session the migration goes on all the same.
        with contextlib.suppress(psycopg2.Error, SystemExit):
            if self._done.wait(LOOK_EVERY):
                return  # most migrations wait for nobody
            with contextlib.closing(self._connect()) as session, session.cursor() as cursor:
                session.autocommit = True
                while not self._done.wait(LOOK_EVERY):
                    cursor.execute(SESSIONS.format("pg_blocking_pids(%s)"), [self._pid])
                    now = "; ".join(describe(*row) for row in cursor.fetchall())
                    if now and now != self.last:
                        log.warning("Waiting for %s", now)
                        self.last = now
