"""What all verbs share: the Invoke task, configuration, output, signals and exit codes."""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.main import program
from invoke.parser.argument import Argument
from invoke.tasks import Task

from invoke_stack import config
from invoke_stack.cli.closed_pipe import continue_at_closed_pipe, end_at_closed_pipe
from invoke_stack.errors import BadInput, StackError
from invoke_stack.profile import DEFAULT_PROFILE
from invoke_stack.text import plain_lines

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status

    from invoke_stack.commands.session import Session
    from invoke_stack.config import Config
    from invoke_stack.model import Step

__all__ = ["Context", "Exit"]  # for the verbs, which do not import Invoke themselves

RUNTIME = "the runtime: auto, compose, local or swarm"
JSON = "print JSON to stdout"
WATCH = "poll every second until q or Ctrl-C"
DRY_RUN = "show what would be done, without doing it"
TIMEOUT = "how long to wait until it is ready: 90 or 2m"


class Verb(Task[Callable[..., None]]):
    """An Invoke task whose flags keep their help text after the first call of `get_arguments`."""

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        """Return the flags; Invoke's own method removes their texts from `help`."""
        help_texts = dict(self.help)
        try:
            return super().get_arguments(ignore_unknown_help)
        finally:
            self.help = help_texts


def verb(
    *, changes: bool = False, **help_of_flags: str
) -> Callable[[Callable[..., None]], Task[Any]]:
    """Return a decorator that makes a function a verb, with the help text of each flag.

    An error ends the verb with one or two lines on stderr and the exit code of its type, without
    a traceback. When the reader of its output closes the pipe, a verb that `changes` something
    completes, and any other ends.
    """
    at_closed_pipe = continue_at_closed_pipe if changes else end_at_closed_pipe

    def decorate(body: Callable[..., None]) -> Task[Any]:
        @functools.wraps(body)
        def run(context: Context, **flags: Any) -> None:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, _exit_on_signal)
            sys.unraisablehook = _ignore_late_interrupt
            sys.excepthook = _print_traceback
            try:
                with _exit_on_error(body.__name__), at_closed_pipe():
                    body(context, **flags)
            except KeyboardInterrupt:
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                _show_cursor()
                raise Exit("interrupted", 130) from None

        names = {flag.replace("_", "-"): text for flag, text in help_of_flags.items()}
        name = body.__name__.replace("_", "-")
        return Verb(run, name=name, help={k.replace("-", "_"): v for k, v in names.items()})

    return decorate


@contextmanager
def _exit_on_error(function: str) -> Iterator[None]:
    try:
        yield
    except StackError as error:
        if _is_debug():
            raise
        message = error.message + (f"\n  {error.hint}" if error.hint else "")
        raise Exit(plain_lines(message), error.exit_code) from None
    except Exception as error:
        if _is_debug() or isinstance(error, Exit):
            raise
        summary = f"unexpected error: {type(error).__name__}: {error}".splitlines()[0]
        command = f"inv --debug {function}"
        raise Exit(f"{plain_lines(summary)}\n  show the traceback: {command}", 1) from error
    finally:
        # The verb is done, so Ctrl-C could only interrupt the interpreter's shutdown. Ignore it:
        # Python removes any other handler before the shutdown is complete.
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _exit_on_signal(number: int, frame: object) -> None:
    # SystemExit runs all `finally` blocks, as Ctrl-C does.
    _show_cursor()
    raise SystemExit(128 + number)


def _is_debug() -> bool:
    return bool(getattr(program, "args", None) and program.args.debug.value)


def _ignore_late_interrupt(unraisable: Any) -> None:
    # Ctrl-C while a connection is being closed: the verb's work is done.
    if not issubclass(unraisable.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)


def _print_traceback(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    # Only with --debug. Through `say`, because an exception may quote control characters.
    import traceback

    say("".join(traceback.format_exception(kind, error, trace)).rstrip())


def _show_cursor() -> None:
    # A live display that is interrupted while it starts may have hidden the cursor already.
    # Its replacements of sys.stdout and sys.stderr would print the escape as text.
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream and stream.isatty():
            stream.write("\x1b[?25h")
            stream.flush()
            return


def use_utf8() -> None:
    """Write UTF-8 to stdout and stderr, whatever the system's code page is."""
    # The code page of an old Windows console has no ✓. `replace` is for lone surrogates.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")


def load_config(
    context: Context, runtime: str, on_error: Callable[[BadInput], None] | None = None
) -> Config:
    """Return the checked configuration; `on_error` as in `config.load`. Raises `BadInput`."""
    root = Path(context.config.stack.get("root") or os.getcwd())  # noqa: PTH109
    options = {"on_error": on_error} if on_error else {}
    profile = context.config.stack.get("profile") or DEFAULT_PROFILE
    return config.load(root, context.config.stack, os.environ, runtime, profile=profile, **options)


def open_session(context: Context, runtime: str, *, needs_variables: bool = True) -> Session:
    """Return the session that a command works with. Raises `StackError`.

    Without `needs_variables`, a runtime that does not use the stack's variables only warns about
    invalid ones.
    """
    from invoke_stack.commands import session

    refused: list[BadInput] = []
    config = load_config(context, runtime, None if needs_variables else refused.append)
    return session.open_session(config, say, refused)


def say(text: str) -> None:
    """Print a notice to stderr, without control characters."""
    print(plain_lines(text), file=sys.stderr, flush=True)


def make_console(*, stderr: bool = False) -> Console:
    """Return a console; its colours depend on `NO_COLOR`, `FORCE_COLOR` and `TERM`."""
    from rich.theme import Theme

    from invoke_stack.cli.screen.console import PlainConsole
    from invoke_stack.render.palette import THEME

    stream = sys.stderr if stderr else sys.stdout
    # Never wrap lines in a pipe.
    width = None if stream.isatty() else 10_000
    environ = dict(os.environ)
    if sys.platform != "win32" and not environ.get("TERM"):  # Windows never sets TERM
        environ["TERM"] = "dumb"
    return PlainConsole(
        file=stream,
        emoji=False,
        highlight=False,
        width=width,
        theme=Theme(THEME),
        # Rich's own handling of NO_COLOR keeps bold and dim.
        color_system=None if environ.get("NO_COLOR") else "auto",
        _environ=environ,
    )


def stop_status(status: Status) -> None:
    """Stop a status line, even if Ctrl-C interrupted its start."""
    with suppress(IndexError):  # Rich's stack of live displays is empty then
        status.stop()


def show_plan(steps: Sequence[Step], runtime: str, json: bool) -> None:
    """Print the steps of a dry run to stdout."""
    from invoke_stack.render import documents

    if json:
        print(documents.dumps(documents.plan_json(steps, runtime)))
        return
    from invoke_stack.cli.screen import table

    console = make_console()
    for line in table.plan_lines(steps):
        console.print(line)


def confirm(question: str) -> None:
    """Ask a yes-or-no question on stderr.

    Raises:
        BadInput: if stdin is not a terminal.
        Exit: with code 130, if the answer is not yes.
    """
    if not sys.stdin.isatty():
        message = f"not a terminal, cannot ask for confirmation: {question}"
        raise BadInput(message, "pass --yes to confirm")
    print(f"{plain_lines(question)} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Exit("nothing was changed", 130)


def has_colour(console: Console) -> bool:
    """Return True if ANSI escapes may be written to the console's stream."""
    # A legacy Windows console would print escapes as text.
    supports_escapes = console.color_system is not None and not console.legacy_windows
    return console.is_terminal and supports_escapes and not console.no_color
