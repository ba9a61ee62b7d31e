"""Stop an application that hangs or stays unhealthy, so that the container engine restarts it.

    python -m app.boot.watchdog      runs beside the application until that exits

The entrypoint starts it just before it becomes the application. Docker reports an unhealthy
container but does not restart it (moby/moby#28400); docs/watchdog.md compares the alternatives.
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

POLL_INTERVAL = 5.0  # seconds; less if a limit is short
TIMEOUT = 3.0  # seconds for one response; /health takes little more than 1 at worst
STOP_GRACE = 10.0  # seconds from SIGTERM to SIGKILL: Uvicorn gives in-flight requests 5
MAX_LIMIT = 3600.0  # seconds up to which the limit doubles
MAX_COUNT_AGE = 86400.0  # seconds after which the counts of other containers are deleted
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class CheckResult:
    """The result of one check. A hung application is neither live nor healthy."""

    live: bool
    healthy: bool
    details: str  # of /health, such as `HTTP 503`


@dataclass
class FailureTimer:
    """Measures how long checks have failed, and compares that with the limits.

    All times are in seconds; a limit of 0 is off. Time in which the whole machine or container was
    frozen does not count: the application could not have answered.
    """

    health_after: float
    live_after: float
    restarts: int  # by the watchdog, without a healthy period in between
    interval: float  # between two checks, at most
    unhealthy_for: float = field(default=0.0, init=False)
    hung_for: float = field(default=0.0, init=False)

    @property
    def health_limit(self) -> float:
        """The limit for /health. Each restart doubles it, to avoid a restart loop in an outage."""
        return max(min(self.health_after * 2.0**self.restarts, MAX_LIMIT), self.health_after)

    def add(self, result: CheckResult, elapsed: float) -> str:
        """Add a result, `elapsed` seconds after the previous one.

        Returns the reason to stop the application, or an empty string.
        """
        elapsed = min(elapsed, self.interval + 2 * TIMEOUT)
        self.hung_for = 0.0 if result.live else self.hung_for + elapsed
        self.unhealthy_for = 0.0 if result.healthy else self.unhealthy_for + elapsed
        if result.healthy:
            self.restarts = 0
        if self.live_after and self.hung_for >= self.live_after:
            return f"/live has not answered for {self.hung_for:.0f}s"
        if self.health_after and self.unhealthy_for >= self.health_limit:
            return f"/health has failed for {self.unhealthy_for:.0f}s ({result.details})"
        return ""


class RestartCount:
    """The number of restarts without a healthy period, in a file that survives a restart.

    Replicas may share the folder: the host name is part of the file name.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / f"watchdog-{socket.gethostname()}"

    def read(self) -> int:
        """Return the count; 0 if the file is missing or invalid."""
        with contextlib.suppress(OSError, ValueError):
            return min(max(int(self._file.read_text("utf-8")), 0), 32)
        return 0

    def write(self, count: int) -> None:
        """Write the count and delete old files of other containers."""
        try:
            for other in self._file.parent.glob("watchdog-*"):
                with contextlib.suppress(OSError):  # another replica may delete it first
                    if time.time() - other.stat().st_mtime > MAX_COUNT_AGE:
                        other.unlink()
            new = self._file.with_name(f".{self._file.name}.new")
            new.write_text(f"{count}\n", "utf-8")
            new.replace(self._file)
        except OSError as error:
            progress.log(
                f"WARNING: STATE_DIR {self._file.parent}: {error.strerror}. The watchdog loses"
                " its count of restarts, so its limit does not double."
            )


def check(address: tuple[str, int]) -> CheckResult:
    """Request /live and /health from the application."""
    if get(address, "/live") is None:
        return CheckResult(live=False, healthy=False, details="no answer")
    response = get(address, "/health")
    if response is None:
        return CheckResult(live=True, healthy=False, details="no answer")
    status, body = response
    details = f"HTTP {status}{_unavailable_parts(body)}"
    return CheckResult(live=True, healthy=status < 500, details=details)


def get(address: tuple[str, int], path: str) -> tuple[int, bytes] | None:
    """Return the status and body of a response; None if there was none within `TIMEOUT`."""
    connection = http.client.HTTPConnection(*address, timeout=TIMEOUT)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        response = connection.getresponse()
        return response.status, response.read(65536)
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _unavailable_parts(body: bytes) -> str:
    with contextlib.suppress(ValueError, TypeError):
        health = json.loads(body)
        parts = [name for name, key in (("database", "db"), ("Redis", "redis")) if not health[key]]
        return ", no answer from " + " and ".join(parts) if parts else ""
    return ""


def watch(
    timer: FailureTimer, count: RestartCount, check: Callable[[], CheckResult], application: int
) -> None:
    """Check the application, whose process id is `application`, until it exits or is stopped."""
    checked_at = time.monotonic()
    while _sleep(timer.interval, application):
        restarts = timer.restarts
        result = check()
        now = time.monotonic()
        reason = timer.add(result, now - checked_at)
        checked_at = now
        if restarts and not timer.restarts:
            progress.log("Watchdog: healthy again.")
            count.write(0)
        if reason and os.getppid() == application:
            count.write(timer.restarts + 1)
            progress.log(f"Watchdog: {reason}. Stopping the application so that it is restarted.")
            stop(application)
            return


def stop(application: int) -> None:
    """Stop the application with SIGTERM, and with SIGKILL after `STOP_GRACE`."""
    os.kill(application, signal.SIGTERM)
    if _sleep(STOP_GRACE, application):
        progress.log(f"Watchdog: it did not stop within {STOP_GRACE:g}s. Killing it.")
        os.kill(application, signal.SIGKILL)


def _sleep(seconds: float, application: int) -> bool:
    """Sleep while the application is running. Returns False if it has exited."""
    deadline = time.monotonic() + seconds
    while os.getppid() == application:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            return True
        time.sleep(min(remaining, 0.5))
    return False


def _address(config: Settings) -> tuple[str, int]:
    loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  does not bind it
    return loopback.get(config.host, config.host), config.port


def main() -> int:
    """Run the watchdog until the application exits."""
    config = settings.load()
    application = int(os.environ["ENTRYPOINT_PID"])
    if sys.platform == "linux":  # elsewhere `_sleep` notices the exit within half a second
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    health, live = (float(os.environ[f"{name}_RESTART_AFTER"]) for name in ("HEALTH", "LIVE"))
    limits = [limit for limit in (health, live) if limit]
    count = RestartCount(config.state_dir)
    interval = min(POLL_INTERVAL, *(limit / 4 for limit in limits))
    timer = FailureTimer(health, live, count.read(), interval)
    if timer.restarts and health:
        progress.log(
            f"Watchdog: restart {timer.restarts} without a healthy period;"
            f" /health may fail for {timer.health_limit:.0f}s until the next."
        )
    watch(timer, count, lambda: check(_address(config)), application)
    return 0


if __name__ == "__main__":
    sys.exit(main())
