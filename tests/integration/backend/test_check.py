"""Many ask; one looks; nobody waits for long."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from app.health import check
from app.health.check import Check


class Look:
    """Something to look at that can hang."""

    def __init__(self) -> None:
        self.count = 0
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.ended = threading.Event()

    def __call__(self) -> int:
        self.count += 1
        self.ended.clear()
        assert self.goes_on.wait(20)
        self.ended.set()
        return self.count


def test_many_who_ask_at_once_share_one_look() -> None:
    look = Look()

    async def ask() -> list[int | None]:
        checked = Check(look)
        together = await asyncio.gather(*(checked.result() for _ in range(500)))
        return [*together, await checked.result()]

    assert asyncio.run(ask()) == [1] * 501


def test_a_result_grows_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "LIFETIME", 0.0)
    look = Look()

    async def ask() -> list[int | None]:
        checked = Check(look)
        return [await checked.result(), await checked.result()]

    assert asyncio.run(ask()) == [1, 2]


def test_a_success_may_live_longer_and_the_latest_stands_in_while_looking_takes_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(check, "PATIENCE", 0.05)
    look = Look()

    async def ask() -> None:
        long = Check(look, lifetime=60.0)
        assert [await long.latest(), await long.latest()] == [1, 1]
        monkeypatch.setattr(check, "LIFETIME", 0.0)
        short = Check(look)
        assert await short.latest() == 2
        look.goes_on.clear()
        assert await short.latest() == 2
        assert await short.result() is None
        look.goes_on.set()

    asyncio.run(ask())


def test_a_look_that_hangs_delays_nobody_and_is_not_repeated() -> None:
    look = Look()

    async def ask() -> None:
        checked = Check(look)
        look.goes_on.clear()
        before, began = threading.active_count(), time.monotonic()
        assert await asyncio.gather(*(checked.result() for _ in range(50))) == [None] * 50
        assert time.monotonic() - began < 2
        began = time.monotonic()
        for _ in range(50):
            assert await checked.result() is None
        assert time.monotonic() - began < 1  # nobody waits for it a second time
        assert look.count == 1
        assert threading.active_count() <= before + 1

        look.goes_on.set()
        assert await asyncio.to_thread(look.ended.wait, 5)
        while (result := await checked.result()) is None:
            await asyncio.sleep(0.01)
        assert result == 1  # what it saw in the end

    asyncio.run(asyncio.wait_for(ask(), 15))


def test_a_look_that_fails_is_no_exception() -> None:
    def look() -> int:
        raise OSError("the secret is 42")

    assert asyncio.run(Check(look).result()) is None
