"""Log which sessions block a migration, without the values in their statements."""

from __future__ import annotations

import contextlib
import logging
import re
import threading
from collections.abc import Callable, Iterator

import psycopg2.extensions

POLL_INTERVAL = 0.5  # seconds; lock_timeout is ten times that
MAX_LENGTH = 200  # characters of a statement

SESSIONS = """
SELECT coalesce(nullif(application_name, ''), 'unnamed session'), pid, state,
    to_char(coalesce(xact_start, backend_start), 'HH24:MI:SS TZ'), query
FROM pg_stat_activity WHERE pid = ANY({})
"""
"""Query for sessions by process id; each row is the arguments of `describe`."""

Connect = Callable[[], psycopg2.extensions.connection]

log = logging.getLogger("alembic.deal_scout")

# The order matters: a quote inside a comment or a quoted name does not start a string.
_TOKENS = re.compile(
    r"""
    --[^\n]* | /\*.*?(?:\*/|$)                    # comments: removed
    | (?P<name>"(?:[^"]|"")*(?:"|$))              # quoted names: unchanged
    | [eE]'(?:[^'\\]|\\.|'')*(?:'|$)              # values, including truncated ones
    | '(?:[^']|'')*(?:'|$)
    | \$(?P<tag>\w*)\$.*?(?:\$(?P=tag)\$|$)
    | (?<![\w$])\d[\d.]*(?:[eE][+-]?\d+)?\b
    """,
    re.VERBOSE | re.DOTALL,
)


def describe(application: str, pid: int, state: str | None, since: str, query: str | None) -> str:
    """Return one line such as `psql (pid 12, idle in transaction, since 09:30:01 UTC): LOCK …`."""
    return f"{application} (pid {pid}, {state}, since {since}): {mask(query or '')}"


def mask(query: str) -> str:
    """Return a statement in one line with `?` for every value, as values may be secrets."""

    def replace(match: re.Match[str]) -> str:
        is_comment = match[0].startswith(("--", "/*"))
        return match["name"] or (" " if is_comment else "?")

    text = " ".join(_TOKENS.sub(replace, query).split())
    return text if len(text) <= MAX_LENGTH else f"{text[: MAX_LENGTH - 1]}…"


class Blockers:
    """The sessions that block the session with process id `pid`; `last` describes them."""

    def __init__(self, connect: Connect, pid: int) -> None:
        self.last = ""
        self._connect = connect
        self._pid = pid
        self._done = threading.Event()

    @contextlib.contextmanager
    def logged(self) -> Iterator[None]:
        """Log the blocking sessions while the `with` block runs."""
        thread = threading.Thread(target=self._watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._done.set()
            thread.join(1)

    def _watch(self) -> None:
        # The log is optional: without a second session the migration continues.
        with contextlib.suppress(psycopg2.Error, SystemExit):
            if self._done.wait(POLL_INTERVAL):
                return  # most migrations are not blocked
            with contextlib.closing(self._connect()) as session, session.cursor() as cursor:
                session.autocommit = True
                while not self._done.wait(POLL_INTERVAL):
                    cursor.execute(SESSIONS.format("pg_blocking_pids(%s)"), [self._pid])
                    sessions = "; ".join(describe(*row) for row in cursor.fetchall())
                    if sessions and sessions != self.last:
                        log.warning("Waiting for %s", sessions)
                        self.last = sessions
