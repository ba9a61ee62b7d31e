"""Looking again and again: on a terminal as one screen that changes, elsewhere look after look."""

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

from invoke_stack.cli.glue import Exit, say, terminal
from invoke_stack.cli.keys import Pressed, keyboard
from invoke_stack.commands.poll_state import PollState
from invoke_stack.errors import StackError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

EVERY = 1.0  # seconds between the beginnings of two looks
TICK = 0.2  # seconds after which a signal, a key or a new size is noticed at the latest
GRACE = 0.5  # seconds that a look under way gets to end, once nobody wants it any more

T = TypeVar("T")
Seen = TypeVar("Seen", contravariant=True)


class View(Protocol[Seen]):
    """What becomes of the looks."""

    def take(self, found: Seen | StackError, at: datetime) -> None:
        """Take what a look that began `at` has found."""
        ...

    def lines(self, now: datetime, width: int) -> Sequence[Text]:
        """What is to be shown, in lines of at most `width` cells where that is possible."""
        ...

    def news(self, now: datetime, width: int) -> Sequence[Text]:
        """The last look alone, for where each is shown below the one before."""
        ...


def watch(look: Callable[[], T], title: str, view: View[T]) -> None:
    """Look every second until `q` or a signal, and show the view; on a terminal in place.

    A look that fails with `StackError` is told, and they go on. Raises `KeyboardInterrupt`.
    """
    console = terminal()
    if not console.is_terminal or console.is_dumb_terminal or console.legacy_windows:
        for found, at in _looks(look):
            view.take(found, at)
            _print(console, found, view)
    poll_state: PollState[T] = PollState()
    looker = _Looker(look)
    looker.start()
    with _signals() as caught:
        while _show(console, looker, title, poll_state, view, caught) is _SUSPEND:
            _suspend(caught)
    _leave(looker, caught)


def watch_json(look: Callable[[], T], dumps: Callable[[T | StackError], str]) -> None:
    """One line of JSON a look; what keeps a look from seeing anything is told on stderr, once."""
    away = False
    for found, _ in _looks(look):
        if isinstance(found, StackError) and not away:
            say(f"out of reach: {found.message}; still looking")
        elif away and not isinstance(found, StackError):
            say("back")
        away = isinstance(found, StackError)
        print(dumps(found), flush=True)


def _looks(look: Callable[[], T]) -> Iterator[tuple[T | StackError, datetime]]:
    while True:
        begin, at = time.monotonic(), datetime.now(UTC)
        yield _attempt(look), at
        time.sleep(max(0.0, EVERY - (time.monotonic() - begin)))


def _attempt(look: Callable[[], T]) -> T | StackError:
    try:
        return look()
    except StackError as error:
        return error


def _print(console: Console, found: T | StackError, view: View[T]) -> None:
    now = datetime.now(UTC)
    console.print(f"at {now:%H:%M:%S} UTC")
    if isinstance(found, StackError):
        console.print(f"out of reach: {found.message}", markup=False)
    else:
        for line in view.news(now, console.width):
            console.print(line)
    console.print()


# On a terminal

_END, _SUSPEND = "end", "suspend"


def _show(
    console: Console,
    looker: _Looker[T],
    title: str,
    poll_state: PollState[T],
    view: View[T],
    caught: list[int],
) -> str:
    """Show what is seen until it is to end, or to be suspended; leaves the terminal as it was."""
    from rich.console import Group
    from rich.live import Live

    from invoke_stack.cli.screen import frame

    drawn = None
    with keyboard() as pressed, Live(console=console, screen=True, auto_refresh=False) as screen:
        how = "q quits" if pressed else "Ctrl-C quits"
        while not caught:
            for found, at in looker.found():
                poll_state.record(found, at)
                view.take(found, at)
            now = datetime.now(UTC)
            shown = frame.screen(
                console,
                title,
                poll_state,
                view.lines(now, console.width),
                now=now,
                asked_at=looker.asked_at,
                how_to_end=how,
            )
            if drawn != (console.size, shown):  # what is drawn again unchanged only costs
                screen.update(Group(*shown), refresh=True)
                drawn = (console.size, shown)
            if _key(pressed) in ("q", "Q"):
                return _END
    return _SUSPEND if caught[-1] == _TSTP else _END


def _key(pressed: Pressed | None) -> str:
    if pressed:
        return pressed(TICK)
    time.sleep(TICK)
    return ""


_TSTP = getattr(signal, "SIGTSTP", None)  # Ctrl-Z; Windows has neither it nor SIGHUP


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Notes signals instead of obeying them: the terminal is put in order first."""
    caught: list[int] = []
    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGTSTP")
    wanted = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {each: signal.signal(each, lambda number, _: caught.append(number)) for each in wanted}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _suspend(caught: list[int]) -> None:
    """Stop as the user asked; returns when the shell lets us go on."""
    assert _TSTP is not None
    handler = signal.signal(_TSTP, signal.SIG_DFL)
    signal.raise_signal(_TSTP)
    signal.signal(_TSTP, handler)
    caught.clear()


class _Looker(threading.Thread, Generic[T]):
    """Looks beside the screen, so that a look which takes its time stops neither keys nor clock."""

    def __init__(self, look: Callable[[], T]) -> None:
        super().__init__(daemon=True)
        self.look = look
        self.ended = threading.Event()
        self.looks: queue.SimpleQueue[tuple[T | Exception, datetime]] = queue.SimpleQueue()
        self.asked_at: datetime | None = None  # when the look that is under way began

    def run(self) -> None:
        while not self.ended.is_set():
            begin = time.monotonic()
            at = self.asked_at = datetime.now(UTC)
            try:
                self.looks.put((self.look(), at))
            except Exception as error:  # for the thread that shows it, or ends with it
                self.looks.put((error, at))
            self.asked_at = None
            self.ended.wait(max(0.0, EVERY - (time.monotonic() - begin)))

    def found(self) -> Iterator[tuple[T | StackError, datetime]]:
        """What the looks since the last call have found. Raises what nobody foresaw."""
        while not self.looks.empty():
            found, at = self.looks.get()
            if isinstance(found, Exception) and not isinstance(found, StackError):
                raise found
            yield found, at


def _leave(looker: _Looker[T], caught: Sequence[int]) -> None:
    """End as it was asked for, even while a look hangs."""
    looker.ended.set()
    looker.join(GRACE)
    code = 128 + caught[-1] if caught else 0
    if looker.is_alive():
        # Python would wait for the threads of that look, which may take half a minute.
        if code == 128 + signal.SIGINT:
            say("interrupted")
        sys.stdout.flush()
        os._exit(code)
    if code == 128 + signal.SIGINT:
        raise KeyboardInterrupt
    if code:
        raise Exit(code=code)
