"""Constant load on an address, and what came of it."""

from __future__ import annotations

import collections
import contextlib
import threading
import time
from collections.abc import Iterator

import httpx


class Load:
    """Requests one after the other from several clients, each on a connection of its own."""

    def __init__(self, url: str, clients: int = 4) -> None:
        self.url = url
        self.outcomes: collections.Counter[str] = collections.Counter()
        self.slowest = 0.0  # seconds
        self.ending = threading.Event()
        self.threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(clients)]

    @property
    def failed(self) -> dict[str, int]:
        return {what: count for what, count in self.outcomes.items() if what != "200"}

    def _ask(self) -> None:
        with httpx.Client(trust_env=False, timeout=30) as client:
            while not self.ending.wait(0.02):
                begin = time.monotonic()
                try:
                    outcome = str(client.get(self.url).status_code)
                except httpx.HTTPError as error:
                    outcome = f"{type(error).__name__}: {error}"
                self.outcomes[outcome] += 1
                self.slowest = max(self.slowest, time.monotonic() - begin)


@contextlib.contextmanager
def load(url: str) -> Iterator[Load]:
    """The load lasts as long as the block."""
    made = Load(url)
    for thread in made.threads:
        thread.start()
    try:
        yield made
    finally:
        made.ending.set()
        for thread in made.threads:
            thread.join(40)
