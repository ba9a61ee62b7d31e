"""Looking at something that may hang, on behalf of many who ask often."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

LIFETIME = 1.0  # seconds for which a result is good
PATIENCE = 1.0  # seconds after which a look that has not ended counts as failed

Result = TypeVar("Result")


class Check(Generic[Result]):
    """Looks something up at most once per `lifetime`, however many ask, and never twice at once.

    `lifetime` is that of a success, in seconds, where it is longer than `LIFETIME`.
    """

    def __init__(self, look: Callable[[], Result], lifetime: float = 0.0) -> None:
        self._look = look
        self._lifetime = lifetime
        self.known: Result | None = None  # what was seen last; None when that look failed
        self._ended = float("-inf")
        self._started = 0.0
        self._running: asyncio.Future[None] | None = None

    @property
    def fresh(self) -> bool:
        """Whether `known` was seen less than its lifetime ago."""
        lifetime = LIFETIME if self.known is None else max(LIFETIME, self._lifetime)
        return self._running is None and time.monotonic() - self._ended < lifetime

    async def result(self) -> Result | None:
        """What was seen less than its lifetime ago; None when looking failed, or takes too long."""
        return self.known if await self._see() else None

    async def latest(self) -> Result | None:
        """The same, but what was seen before as long as looking takes; None when it failed."""
        await self._see()
        return self.known

    async def _see(self) -> bool:
        """Look, if `known` is not fresh; whether it is now."""
        if self.fresh:
            return True
        now = time.monotonic()
        if self._running is None:
            running = asyncio.get_running_loop().create_future()
            # A daemon, so that a name server that does not answer cannot delay the exit.
            threading.Thread(target=self._run, args=[running], daemon=True).start()
            self._running = running
            self._started = now
        left = max(0.0, self._started + PATIENCE - now)
        ended, _ = await asyncio.wait([self._running], timeout=left)
        return bool(ended)

    def _run(self, running: asyncio.Future[None]) -> None:
        try:
            result = self._look()
        except Exception:  # whatever it was: the answer is that it did not work
            result = None
        with suppress(RuntimeError):  # the loop has ended meanwhile
            running.get_loop().call_soon_threadsafe(self._end, running, result)

    def _end(self, running: asyncio.Future[None], result: Result | None) -> None:
        self.known = result
        self._ended = time.monotonic()
        self._running = None
        running.set_result(None)
