"""What every verb does at the edge: parse, resolve the runtime, speak, and end as agreed."""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.main import program
from invoke.parser.argument import Argument
from invoke.tasks import Task

from invoke_stack import config
from invoke_stack.errors import BadInput, StackError
from invoke_stack.profile import DEFAULT_PROFILE
from invoke_stack.text import plain_lines

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status

    from invoke_stack.commands.session import Session
    from invoke_stack.config import Config
    from invoke_stack.model import Step

__all__ = ["Context", "Exit"]  # for the verbs, which import nothing of Invoke

RUNTIME = "the place: auto, compose, local or swarm"
JSON = "print JSON on stdout, for programs"
WATCH = "go on looking, every second, until q or Ctrl-C"
DRY_RUN = "show what would be done, and change nothing"
TIMEOUT = "seconds to wait until it is ready"


class Verb(Task[Callable[..., None]]):
    """A task whose arguments may be asked for more than once: Invoke's own forgets their help."""

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        kept = dict(self.help)
        try:
            return super().get_arguments(ignore_unknown_help)
        finally:
            self.help = kept


def verb(**help_of_flags: str) -> Callable[[Callable[..., None]], Task[Any]]:
    """Make a task that ends as the contract says: our errors in two lines, with their exit code."""

    def decorate(body: Callable[..., None]) -> Task[Any]:
        @functools.wraps(body)
        def run(context: Context, **flags: Any) -> None:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, _end)
            sys.unraisablehook = _quietly
            sys.excepthook = _plainly
            try:
                body(context, **flags)
            except StackError as error:
                if _debugging():
                    raise
                message = error.message + (f"\n  {error.hint}" if error.hint else "")
                raise Exit(plain_lines(message), error.exit_code) from None
            except KeyboardInterrupt:
                _show_cursor()
                raise Exit("interrupted", 130) from None
            except BrokenPipeError:
                # The reader has seen enough, as in `inv logs | head`.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                raise Exit(code=0) from None
            except Exception as error:
                if _debugging() or isinstance(error, Exit):
                    raise
                what = f"unexpected: {type(error).__name__}: {error}".splitlines()[0]
                raise Exit(
                    f"{plain_lines(what)}\n  see where with: inv --debug {body.__name__}", 1
                ) from error
            finally:
                # All is done, and said; what is left to interrupt is Python's own end. Python itself
                # takes any other handler away before that is over.
                signal.signal(signal.SIGINT, signal.SIG_IGN)

        names = {flag.replace("_", "-"): text for flag, text in help_of_flags.items()}
        name = body.__name__.replace("_", "-")
        return Verb(run, name=name, help={k.replace("-", "_"): v for k, v in names.items()})

    return decorate


def _end(number: int, frame: object) -> None:
    # Whatever was begun is cleaned up, as with Ctrl-C.
    _show_cursor()
    raise SystemExit(128 + number)


def _debugging() -> bool:
    return bool(getattr(program, "args", None) and program.args.debug.value)


def _quietly(unraisable: Any) -> None:
    # Ctrl-C while a connection is being closed, the verb's work done: nothing to tell.
    if not issubclass(unraisable.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)


def _plainly(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    # With --debug. An exception quotes whatever an engine or a server said.
    import traceback

    say("".join(traceback.format_exception(kind, error, trace)).rstrip())


def _show_cursor() -> None:
    # A live display that is interrupted while it begins has hidden it already.
    # The streams themselves: while it is there, it shows what is written to others as text.
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream and stream.isatty():
            stream.write("\x1b[?25h")
            stream.flush()
            return


def speak_utf8() -> None:
    """Write UTF-8 whatever the system's code page is."""
    # An old Windows console has a code page without ✓, and no stream takes half a character.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")


def configure(
    context: Context, runtime: str, refuse: Callable[[BadInput], None] | None = None
) -> Config:
    """The Config; `refuse` is `on_error` of `config.load`."""
    root = Path(context.config.stack.get("root") or os.getcwd())  # noqa: PTH109
    more = {"on_error": refuse} if refuse else {}
    profile = context.config.stack.get("profile") or DEFAULT_PROFILE
    return config.load(root, context.config.stack, os.environ, runtime, profile=profile, **more)


def start(context: Context, runtime: str, *, needs_variables: bool = True) -> Session:
    """Return what a command works on.

    Without `needs_variables` what is wrong with the stack's variables is only told, in the one
    place where nothing is asked through them.
    """
    from invoke_stack.commands import session

    refused: list[BadInput] = []
    config = configure(context, runtime, None if needs_variables else refused.append)
    return session.begin(config, say, refused)


def say(text: str) -> None:
    print(plain_lines(text), file=sys.stderr, flush=True)


def terminal(*, stderr: bool = False) -> Console:
    from rich.theme import Theme

    from invoke_stack.cli.screen.console import PlainConsole
    from invoke_stack.render.palette import THEME

    stream = sys.stderr if stderr else sys.stdout
    # What is piped is never wrapped: lines belong to the program that reads them.
    width = None if stream.isatty() else 10_000
    environ = dict(os.environ)
    if sys.platform != "win32" and not environ.get("TERM"):  # which Windows never has
        environ["TERM"] = "dumb"
    return PlainConsole(
        file=stream,
        emoji=False,
        highlight=False,
        width=width,
        theme=Theme(THEME),
        # Rich's own NO_COLOR leaves bold and dim in.
        color_system=None if environ.get("NO_COLOR") else "auto",
        _environ=environ,
    )


def stop_status(status: Status) -> None:
    """Stop a live line, also one that Ctrl-C has interrupted in the middle of its start."""
    with suppress(IndexError):  # of Rich's stack of live displays
        status.stop()


def show_plan(steps: Sequence[Step], runtime: str, json: bool) -> None:
    """What `--dry-run` shows, on stdout: it is the answer that was asked for."""
    from invoke_stack.render import documents

    if json:
        print(documents.dumps(documents.plan_json(steps, runtime)))
        return
    from invoke_stack.cli.screen import table

    console = terminal()
    for line in table.plan_lines(steps):
        console.print(line)


def confirm(question: str) -> None:
    if not sys.stdin.isatty():
        raise BadInput(f"cannot ask: {question}", "say so beforehand: --yes")
    print(f"{plain_lines(question)} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Exit("nothing was changed", 130)


def coloured(console: Console) -> bool:
    """Whether escapes may be written by hand: an old Windows console would show them."""
    capable = console.color_system is not None and not console.legacy_windows
    return console.is_terminal and capable and not console.no_color
