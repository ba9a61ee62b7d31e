"""Constant load on a URL, with the outcome of each request."""

from __future__ import annotations

import collections
import contextlib
import threading
import time
from collections.abc import Iterator

import httpx


class Load:
    """Sends sequential requests from several clients, each on its own connection."""

    def __init__(self, url: str, clients: int = 4) -> None:
        self.url = url
        self.outcomes: collections.Counter[str] = collections.Counter()
        self.slowest = 0.0  # seconds
        self.stopping = threading.Event()
        self.threads = [
            threading.Thread(target=self._send_requests, daemon=True) for _ in range(clients)
        ]

    @property
    def failed(self) -> dict[str, int]:
        """The outcomes other than 200, with their counts."""
        return {outcome: count for outcome, count in self.outcomes.items() if outcome != "200"}

    def _send_requests(self) -> None:
        with httpx.Client(trust_env=False, timeout=30) as client:
            while not self.stopping.wait(0.02):
                begin = time.monotonic()
                try:
                    outcome = str(client.get(self.url).status_code)
                except httpx.HTTPError as error:
                    outcome = f"{type(error).__name__}: {error}"
                self.outcomes[outcome] += 1
                self.slowest = max(self.slowest, time.monotonic() - begin)


@contextlib.contextmanager
def load(url: str) -> Iterator[Load]:
    """Send requests for the duration of the block."""
    requests = Load(url)
    for thread in requests.threads:
        thread.start()
    try:
        yield requests
    finally:
        requests.stopping.set()
        for thread in requests.threads:
            thread.join(40)
