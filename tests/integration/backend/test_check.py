"""Concurrent callers share one run of a check, and none of them waits for long."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from app.health import check
from app.health.check import Check


class Function:
    """A function to check that can hang."""

    def __init__(self) -> None:
        self.runs = 0
        self.unblocked = threading.Event()
        self.unblocked.set()
        self.finished = threading.Event()

    def __call__(self) -> int:
        self.runs += 1
        self.finished.clear()
        assert self.unblocked.wait(20)
        self.finished.set()
        return self.runs


def test_check_runs_once_for_concurrent_callers() -> None:
    function = Function()

    async def scenario() -> list[int | None]:
        checked = Check(function)
        results = await asyncio.gather(*(checked.result() for _ in range(500)))
        return [*results, await checked.result()]

    assert asyncio.run(scenario()) == [1] * 501


def test_check_runs_again_when_the_result_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "LIFETIME", 0.0)
    function = Function()

    async def scenario() -> list[int | None]:
        checked = Check(function)
        return [await checked.result(), await checked.result()]

    assert asyncio.run(scenario()) == [1, 2]


def test_check_latest_returns_the_previous_result_while_a_run_is_slow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(check, "CHECK_TIMEOUT", 0.05)
    function = Function()

    async def scenario() -> None:
        long_lived = Check(function, lifetime=60.0)
        assert [await long_lived.latest(), await long_lived.latest()] == [1, 1]
        monkeypatch.setattr(check, "LIFETIME", 0.0)
        short_lived = Check(function)
        assert await short_lived.latest() == 2
        function.unblocked.clear()
        assert await short_lived.latest() == 2
        assert await short_lived.result() is None
        function.unblocked.set()

    asyncio.run(scenario())


def test_check_that_hangs_delays_callers_once_and_is_not_repeated() -> None:
    function = Function()

    async def scenario() -> None:
        checked = Check(function)
        function.unblocked.clear()
        threads, started_at = threading.active_count(), time.monotonic()
        assert await asyncio.gather(*(checked.result() for _ in range(50))) == [None] * 50
        assert time.monotonic() - started_at < 2
        started_at = time.monotonic()
        for _ in range(50):
            assert await checked.result() is None
        assert time.monotonic() - started_at < 1  # no second wait for the same run
        assert function.runs == 1
        assert threading.active_count() <= threads + 1

        function.unblocked.set()
        assert await asyncio.to_thread(function.finished.wait, 5)
        while (result := await checked.result()) is None:
            await asyncio.sleep(0.01)
        assert result == 1  # of the run that hung

    asyncio.run(asyncio.wait_for(scenario(), 15))


def test_check_that_fails_raises_nothing() -> None:
    def fail() -> int:
        raise OSError("the secret is 42")

    assert asyncio.run(Check(fail).result()) is None
