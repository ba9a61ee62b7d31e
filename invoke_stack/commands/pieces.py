"""Pieces of knowledge that are gathered side by side, so that none holds up the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent import futures
from concurrent.futures import Future
from contextvars import ContextVar
from typing import Any, Generic, TypeVar

from invoke_stack.errors import OpsError
from invoke_stack.judge.checks.facts import NotKnown, Unknown, known

T = TypeVar("T")

Waiting = Callable[[Sequence[str], float], None]
"""Shows what is still being waited for, and since how many seconds."""


class Piece(Generic[T]):
    """A piece that a thread of its own gathers; others may wait for it."""

    def __init__(self, name: str, deadline: float, gather: Callable[[], T]) -> None:
        self.name = name
        self.deadline = deadline
        self.waits = False  # for another piece
        self.future: Future[T | Unknown] = Future()
        # A daemon: one that hangs must not keep the command from ending.
        threading.Thread(target=self._run, args=(gather,), daemon=True).start()

    def _run(self, gather: Callable[[], T]) -> None:
        _mine.set(self)
        try:
            self.future.set_result(gather())
        except OpsError as error:
            self.future.set_result(Unknown(error.message, error.hint))
        except NotKnown as error:
            self.future.set_result(error.unknown)
        except Exception as error:
            # A sick machine answers in ways that nobody foresaw; the other checks go on.
            self.future.set_result(Unknown(f"unexpected: {type(error).__name__}: {error}"))

    def value(self) -> T | Unknown:
        """The value, or why there is none; waits for it until the deadline."""
        waiter = _mine.get()
        if waiter:
            waiter.waits = True
        try:
            return self.future.result(max(0.0, self.deadline - time.monotonic()))
        except TimeoutError:
            return Unknown(f"no answer from {self.name}", late=True)
        finally:
            if waiter:
                waiter.waits = False

    def known(self) -> T:
        """The value; raises `NotKnown` when there is none."""
        return known(self.value())


_mine: ContextVar[Piece[Any] | None] = ContextVar("mine", default=None)  # of this thread


def wait(gathered: Sequence[Piece[Any]], begin: float, limit: float, waiting: Waiting) -> list[str]:
    """Wait for everything; the names of what did not come in time, without what waits for them."""
    while True:
        late = [each for each in gathered if not each.future.done()]
        names = list(dict.fromkeys(each.name for each in late if not each.waits))
        seconds = time.monotonic() - begin
        if not late or seconds > limit:
            return names
        waiting(names, seconds)
        futures.wait([each.future for each in late], timeout=0.2)
