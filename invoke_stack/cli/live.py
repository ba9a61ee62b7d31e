"""Polls every second. A terminal shows one screen in place, a pipe gets one block per poll."""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from invoke_stack.cli.glue import Exit, make_console, say
from invoke_stack.cli.keys import ReadKey, keyboard
from invoke_stack.commands.poll_state import PollState
from invoke_stack.errors import StackError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

POLL_INTERVAL = 1.0  # seconds between the starts of two polls
TICK = 0.2  # seconds until a signal, a key or a new window size takes effect, at most
GRACE = 0.5  # seconds to wait for an in-flight poll on exit
_QUIT, _SUSPEND = "quit", "suspend"
_TSTP = getattr(signal, "SIGTSTP", None)  # Ctrl-Z; Windows has neither SIGTSTP nor SIGHUP

Value = TypeVar("Value")
Value_contra = TypeVar("Value_contra", contravariant=True)


class View(Protocol[Value_contra]):
    """Collects the results of polls and renders them."""

    def add(self, value: Value_contra | StackError, at: datetime) -> None:
        """Add the result of the poll that started `at`: its value, or why it failed."""
        ...

    def lines(self, now: datetime, width: int) -> Sequence[Text]:
        """Return the whole view, in lines of at most `width` cells where possible."""
        ...

    def latest_lines(self, now: datetime, width: int) -> Sequence[Text]:
        """Return only the last result, for output that is appended instead of updated."""
        ...


def watch(poll: Callable[[], Value], title: str, view: View[Value]) -> None:
    """Poll every second and show the view until `q` or a signal.

    A poll that raises `StackError` is shown as a problem, and polling goes on.

    Raises:
        KeyboardInterrupt: on Ctrl-C.
    """
    console = make_console()
    if not console.is_terminal or console.is_dumb_terminal or console.legacy_windows:
        for value, at in _poll_forever(poll):
            view.add(value, at)
            _print_latest(console, value, view)
    poll_state: PollState[Value] = PollState()
    poller = _Poller(poll)
    poller.start()
    with _recorded_signals() as signals:
        while _run_screen(console, poller, title, poll_state, view, signals) is _SUSPEND:
            _suspend(signals)
    _exit(poller, signals)


def watch_json(poll: Callable[[], Value], dumps: Callable[[Value | StackError], str]) -> None:
    """Print one line of JSON per poll. Changes of reachability are also reported on stderr."""
    is_failing = False
    for value, _ in _poll_forever(poll):
        if isinstance(value, StackError) and not is_failing:
            say(f"cannot check: {value.message}; retrying")
        elif is_failing and not isinstance(value, StackError):
            say("recovered")
        is_failing = isinstance(value, StackError)
        print(dumps(value), flush=True)


def _poll_forever(poll: Callable[[], Value]) -> Iterator[tuple[Value | StackError, datetime]]:
    while True:
        start, at = time.monotonic(), datetime.now(UTC)
        yield _value_or_error(poll), at
        time.sleep(max(0.0, POLL_INTERVAL - (time.monotonic() - start)))


def _value_or_error(poll: Callable[[], Value]) -> Value | StackError:
    try:
        return poll()
    except StackError as error:
        return error


def _print_latest(console: Console, value: Value | StackError, view: View[Value]) -> None:
    now = datetime.now(UTC)
    console.print(f"at {now:%H:%M:%S} UTC")
    if isinstance(value, StackError):
        console.print(f"cannot check: {value.message}", markup=False)
    else:
        for line in view.latest_lines(now, console.width):
            console.print(line)
    console.print()


def _run_screen(
    console: Console,
    poller: _Poller[Value],
    title: str,
    poll_state: PollState[Value],
    view: View[Value],
    signals: list[int],
) -> str:
    """Show the view full-screen until the user quits or suspends it; then restore the terminal."""
    from rich.console import Group
    from rich.live import Live

    from invoke_stack.cli.screen import frame

    drawn = None
    with keyboard() as read_key, Live(console=console, screen=True, auto_refresh=False) as screen:
        quit_hint = "q quits" if read_key else "Ctrl-C quits"
        while not signals:
            for value, at in poller.results():
                poll_state.record(value, at)
                view.add(value, at)
            now = datetime.now(UTC)
            lines = frame.frame_lines(
                console,
                title,
                poll_state,
                view.lines(now, console.width),
                now=now,
                polling_since=poller.polling_since,
                quit_hint=quit_hint,
            )
            if drawn != (console.size, lines):  # drawing is slow; skip a frame that is the same
                screen.update(Group(*lines), refresh=True)
                drawn = (console.size, lines)
            if _next_key(read_key) in ("q", "Q"):
                return _QUIT
    return _SUSPEND if signals[-1] == _TSTP else _QUIT


def _next_key(read_key: ReadKey | None) -> str:
    if read_key:
        return read_key(TICK)
    time.sleep(TICK)
    return ""


@contextmanager
def _recorded_signals() -> Iterator[list[int]]:
    """Record signals instead of acting on them, so that the terminal can be restored first."""
    signals: list[int] = []
    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGTSTP")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    previous = {
        number: signal.signal(number, lambda received, _: signals.append(received))
        for number in numbers
    }
    try:
        yield signals
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _suspend(signals: list[int]) -> None:
    """Stop this process, as Ctrl-Z asks; return when the shell resumes it."""
    assert _TSTP is not None
    handler = signal.signal(_TSTP, signal.SIG_DFL)
    signal.raise_signal(_TSTP)
    signal.signal(_TSTP, handler)
    signals.clear()


class _Poller(threading.Thread, Generic[Value]):
    """Polls on a thread of its own, so that a slow poll blocks neither keys nor the clock."""

    def __init__(self, poll: Callable[[], Value]) -> None:
        super().__init__(daemon=True)
        self.poll = poll
        self.stopping = threading.Event()
        self.polling_since: datetime | None = None  # start of the in-flight poll
        self._queue: queue.SimpleQueue[tuple[Value | Exception, datetime]] = queue.SimpleQueue()

    def run(self) -> None:
        while not self.stopping.is_set():
            start = time.monotonic()
            at = self.polling_since = datetime.now(UTC)
            try:
                self._queue.put((self.poll(), at))
            except Exception as error:  # `results` returns or raises it on the main thread
                self._queue.put((error, at))
            self.polling_since = None
            self.stopping.wait(max(0.0, POLL_INTERVAL - (time.monotonic() - start)))

    def results(self) -> Iterator[tuple[Value | StackError, datetime]]:
        """Yield the results since the last call. Raises an error that is not a `StackError`."""
        while not self._queue.empty():
            value, at = self._queue.get()
            if isinstance(value, Exception) and not isinstance(value, StackError):
                raise value
            yield value, at


def _exit(poller: _Poller[Value], signals: Sequence[int]) -> None:
    """End with the exit code of the last signal, even while a poll hangs."""
    poller.stopping.set()
    poller.join(GRACE)
    code = 128 + signals[-1] if signals else 0
    if poller.is_alive():
        # Python would wait for the threads of the in-flight poll, which may take half a minute.
        if code == 128 + signal.SIGINT:
            say("interrupted")
        sys.stdout.flush()
        os._exit(code)
    if code == 128 + signal.SIGINT:
        raise KeyboardInterrupt
    if code:
        raise Exit(code=code)
