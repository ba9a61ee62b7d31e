"""Ends an application that hangs, or has been unhealthy for long; whoever runs it starts it anew.

    python -m app.boot.watchdog      beside the application, until that ends

The entrypoint starts it just before it becomes the application. Docker by itself shows that a
container is unhealthy and leaves it so (moby/moby#28400); docs/watchdog.md has the alternatives.
"""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from app import settings
from app.boot import progress
from app.settings import Settings

LOOK_EVERY = 5.0  # seconds between two looks; less when a limit is short
PATIENCE = 3.0  # seconds for one answer; /health takes little more than 1 at worst
GRACE = 10.0  # seconds from SIGTERM to SIGKILL: Uvicorn gives running requests 5
LONGEST = 3600.0  # seconds: the limit doubles up to here
STALE = 86400.0  # seconds after which the count of another container of the volume is forgotten
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Look:
    """What one look saw. Any answer is one: a hung application gives none."""

    live: bool
    healthy: bool
    health: str  # what /health said, in a few words


@dataclass
class Judge:
    """Decides from one look to the next. Limits in seconds; 0: never.

    It adds up the time in which the application failed while we looked. Had the whole machine or
    container been frozen, that time would not count: nobody was there to answer.
    """

    health_after: float
    live_after: float
    restarts: int  # by us, without a healthy period in between
    every: float  # seconds between two looks at most
    failing: float = field(default=0.0, init=False)
    silent: float = field(default=0.0, init=False)

    @property
    def health_limit(self) -> float:
        """Doubled by each restart that did not help, so that a long outage is no restart loop."""
        return max(min(self.health_after * 2.0**self.restarts, LONGEST), self.health_after)

    def see(self, look: Look, elapsed: float) -> str:
        """Take in a look, `elapsed` seconds after the one before; why it must end, or nothing."""
        elapsed = min(elapsed, self.every + 2 * PATIENCE)
        self.silent = 0.0 if look.live else self.silent + elapsed
        self.failing = 0.0 if look.healthy else self.failing + elapsed
        if look.healthy:
            self.restarts = 0
        if self.live_after and self.silent >= self.live_after:
            return f"/live has not answered for {self.silent:.0f}s"
        if self.health_after and self.failing >= self.health_limit:
            return f"/health has failed for {self.failing:.0f}s ({look.health})"
        return ""


class Count:
    """How often we ended the application in vain, in a file that outlives the container's restart.

    Several replicas may share the folder: each has a file of its own name.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / f"watchdog-{socket.gethostname()}"

    def read(self) -> int:
        """The count; 0 when there is none, or it is damaged."""
        with contextlib.suppress(OSError, ValueError):
            return min(max(int(self._file.read_text("utf-8")), 0), 32)
        return 0

    def write(self, count: int) -> None:
        try:
            for other in self._file.parent.glob("watchdog-*"):
                with contextlib.suppress(OSError):  # another replica's, which may go meanwhile
                    if time.time() - other.stat().st_mtime > STALE:
                        other.unlink()
            new = self._file.with_name(f".{self._file.name}.new")
            new.write_text(f"{count}\n", "utf-8")
            new.replace(self._file)
        except OSError as error:
            progress.say(
                f"WARNING: STATE_DIR {self._file.parent}: {error.strerror}. The watchdog forgets"
                " that it restarted the application, and its limit does not double."
            )


def look(address: tuple[str, int]) -> Look:
    """Ask the application."""
    if ask(address, "/live") is None:
        return Look(live=False, healthy=False, health="no answer")
    answer = ask(address, "/health")
    if answer is None:
        return Look(live=True, healthy=False, health="no answer")
    status, text = answer
    return Look(live=True, healthy=status < 500, health=f"HTTP {status}{_parts(text)}")


def ask(address: tuple[str, int], path: str) -> tuple[int, bytes] | None:
    """Status and body of what the application answers; None when nothing came within `PATIENCE`."""
    connection = http.client.HTTPConnection(*address, timeout=PATIENCE)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        response = connection.getresponse()
        return response.status, response.read(65536)
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _parts(text: bytes) -> str:
    with contextlib.suppress(ValueError, TypeError):
        body = json.loads(text)
        away = [name for name, key in (("database", "db"), ("Redis", "redis")) if not body[key]]
        return ", no answer from " + " and ".join(away) if away else ""
    return ""


def watch(judge: Judge, count: Count, see: Callable[[], Look], application: int) -> None:
    """Look until the application has ended, by itself or by us."""
    last = time.monotonic()
    while _sleep(judge.every, application):
        known = judge.restarts
        seen = see()
        now = time.monotonic()
        reason = judge.see(seen, now - last)
        last = now
        if known and not judge.restarts:
            progress.say("Watchdog: healthy again.")
            count.write(0)
        if reason and os.getppid() == application:
            count.write(judge.restarts + 1)
            progress.say(f"Watchdog: {reason}. Ending the application, to have it started anew.")
            end(application)
            return


def end(application: int) -> None:
    """End our parent: with SIGTERM, and when it does not listen, with SIGKILL."""
    os.kill(application, signal.SIGTERM)
    if _sleep(GRACE, application):
        progress.say(f"Watchdog: it did not end within {GRACE:g}s. Killing it.")
        os.kill(application, signal.SIGKILL)


def _sleep(seconds: float, application: int) -> bool:
    """Sleep as long as the application runs; whether it still does."""
    deadline = time.monotonic() + seconds
    while os.getppid() == application:
        left = deadline - time.monotonic()
        if left <= 0:
            return True
        time.sleep(min(left, 0.5))
    return False


def _address(config: Settings) -> tuple[str, int]:
    own = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  what is listened on
    return own.get(config.host, config.host), config.port


def main() -> int:
    config = settings.load()
    application = int(os.environ["ENTRYPOINT_PID"])
    if sys.platform == "linux":  # elsewhere we notice within half a second
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    health, live = (float(os.environ[f"{name}_RESTART_AFTER"]) for name in ("HEALTH", "LIVE"))
    limits = [limit for limit in (health, live) if limit]
    count = Count(config.state_dir)
    judge = Judge(health, live, count.read(), min(LOOK_EVERY, *(limit / 4 for limit in limits)))
    if judge.restarts and health:
        progress.say(
            f"Watchdog: restart {judge.restarts} without a healthy period;"
            f" /health may fail for {judge.health_limit:.0f}s until the next."
        )
    watch(judge, count, lambda: look(_address(config)), application)
    return 0


if __name__ == "__main__":
    sys.exit(main())
