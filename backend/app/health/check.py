"""Cached checks of something that may hang, for many concurrent callers."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

LIFETIME = 1.0  # seconds for which a result is cached
CHECK_TIMEOUT = 1.0  # seconds after which an unfinished check counts as failed

Result = TypeVar("Result")


class Check(Generic[Result]):
    """Runs a function at most once per `lifetime` for all callers, and never twice at once.

    `lifetime`, in seconds, applies to a success if it is longer than `LIFETIME`.
    """

    def __init__(self, function: Callable[[], Result], lifetime: float = 0.0) -> None:
        self._function = function
        self._lifetime = lifetime
        self.last: Result | None = None  # the last result; None if that run failed
        self._finished_at = float("-inf")
        self._started_at = 0.0
        self._running: asyncio.Future[None] | None = None

    @property
    def is_fresh(self) -> bool:
        """True if `last` is younger than its lifetime and no run is in flight."""
        lifetime = LIFETIME if self.last is None else max(LIFETIME, self._lifetime)
        return self._running is None and time.monotonic() - self._finished_at < lifetime

    async def result(self) -> Result | None:
        """Return a result within its lifetime; None if the run failed or takes too long."""
        return self.last if await self._refresh() else None

    async def latest(self) -> Result | None:
        """Return a result within its lifetime, or the previous one if the run takes too long.

        None if the run failed.
        """
        await self._refresh()
        return self.last

    async def _refresh(self) -> bool:
        """Run the function unless `last` is fresh. Returns False after a timeout."""
        if self.is_fresh:
            return True
        now = time.monotonic()
        if self._running is None:
            running = asyncio.get_running_loop().create_future()
            # A daemon thread, so that a name server that does not answer cannot delay the exit.
            threading.Thread(target=self._run, args=[running], daemon=True).start()
            self._running = running
            self._started_at = now
        timeout = max(0.0, self._started_at + CHECK_TIMEOUT - now)
        done, _ = await asyncio.wait([self._running], timeout=timeout)
        return bool(done)

    def _run(self, running: asyncio.Future[None]) -> None:
        result: Result | None
        try:
            result = self._function()
        except Exception:  # any error means that the check failed
            result = None
        with suppress(RuntimeError):  # the event loop was closed in the meantime
            running.get_loop().call_soon_threadsafe(self._finish, running, result)

    def _finish(self, running: asyncio.Future[None], result: Result | None) -> None:
        self.last = result
        self._finished_at = time.monotonic()
        self._running = None
        running.set_result(None)
