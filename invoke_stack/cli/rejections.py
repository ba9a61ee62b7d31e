"""Rejected command lines: Invoke's parser errors as a message and a hint, like all other errors."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches

from invoke.exceptions import Exit, ParseError
from invoke.parser.context import ParserContext, to_flag
from invoke.program import Program

from invoke_stack.cli.closed_pipe import end_at_closed_pipe
from invoke_stack.text import plain_lines

# The texts of invoke/parser/parser.py and invoke/program.py.
_UNKNOWN = re.compile(r"No idea what (['\"])(.+)\1 is!", re.DOTALL)
_NO_VALUE = re.compile(r"Flag <Argument: (\S+).*> needed value")
_NO_ARGUMENT = re.compile(r"'.+' did not receive required positional arguments: (.+)")


def install(program: Program) -> None:
    """Make `program` raise `Exit` with a hint, and code 1, if it cannot parse verbs and flags."""
    # Invoke has no hook for this.
    program.parse_tasks = _translated(program, Program.parse_tasks)  # type: ignore[method-assign]
    program.parse_cleanup = _translated(  # type: ignore[method-assign]
        program, Program.parse_cleanup
    )


def _translated(program: Program, parse: Callable[[Program], None]) -> Callable[[], None]:
    def parse_or_exit() -> None:
        try:
            with end_at_closed_pipe():
                parse(program)
        except ParseError as error:
            raise Exit(plain_lines(explain(error, program.parser.contexts)), 1) from None

    return parse_or_exit


def explain(error: ParseError, verbs: Iterable[str]) -> str:
    """Return what is wrong with the command line and, on a second line, what to do about it."""
    text, context = str(error), error.context
    verb = context.name if context else ""
    if match := _UNKNOWN.match(text):
        unknown = match[2]
        if unknown.startswith("-") and verb and context:
            hint = _closest(unknown, _flags(context, unknown))
            return f"unknown flag {unknown} of inv {verb}\n  {hint or f'see: inv --help {verb}'}"
        if unknown.startswith("-"):
            return f"unknown flag {unknown}\n  see: inv --help"
        hint = _closest(unknown, verbs) or "see: inv --list"
        if context and "services" in context.args:
            commas = "separate several services with commas"
            hint = commas if verb == "logs" else f"see: inv --help {verb}"
        return f"unknown command '{unknown}'\n  {hint}"
    if match := _NO_VALUE.match(text):
        text = f"{to_flag(match[1])} needs a value"
    elif match := _NO_ARGUMENT.match(text):
        text = f"{verb} needs an argument: {match[1]}"
    return f"{text}\n  see: inv --help{f' {verb}' if verb else ''}"


def _flags(context: ParserContext, unknown: str) -> list[str]:
    """Return the flags to suggest: for --no-…, only others that turn something off."""
    flags = [*context.flags, *context.inverse_flags]
    return [flag for flag in flags if flag.startswith("--no-") or not unknown.startswith("--no-")]


def _closest(unknown: str, candidates: Iterable[str]) -> str:
    matches = get_close_matches(unknown, list(candidates), 1)
    return f"did you mean {matches[0]}?" if matches else ""
