"""Checks of the variables that hold a command: `ALEMBIC_CMD` and `UVICORN_CMD`."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from invoke_stack.errors import CommandFailed
from invoke_stack.model import Finding
from invoke_stack.profile import MainService
from invoke_stack.profile.facts import Facts

DEFAULT = "alembic upgrade head"
VARIABLES = ("ALEMBIC_CMD", "UVICORN_CMD")
_OPERATORS = ("&&", "||", ";", "|", ">", "<", "&")
_ALEMBIC_COMMANDS = (
    *("branches", "check", "current", "downgrade", "edit", "ensure_version", "heads", "history"),
    *("init", "list_templates", "merge", "revision", "show", "stamp", "upgrade"),
)
_ALEMBIC_REMEDY = f"set ALEMBIC_CMD={DEFAULT} in .env, then: inv up"
_UVICORN_REMEDY = "set UVICORN_CMD= in .env, then: inv up"


def program(text: str) -> str:
    """Return the program of a command line; empty if there is none or it cannot be parsed."""
    try:
        return next(iter(shlex.split(text)), "")
    except ValueError:
        return ""


def missing_programs(backend: MainService) -> list[str]:
    """Return the variables whose program does not exist beside the backend."""
    programs = {name: program(backend.variables.get(name, "")) for name in VARIABLES}
    return [name for name, path in programs.items() if path and not _exists(backend, path)]


def _exists(backend: MainService, path: str) -> bool:
    backend.execute("true")  # raises if nothing can be run there
    try:
        backend.execute("sh", "-c", 'command -v -- "$0"', path)
    except CommandFailed:
        return False
    return True


def alembic(facts: Facts) -> Iterator[Finding]:
    """Find an `ALEMBIC_CMD` that is empty or cannot be run."""
    text = facts.variables.values.get("ALEMBIC_CMD", DEFAULT)
    if not text.strip():
        yield Finding("ALEMBIC_CMD is empty: no migrations are applied", (), _ALEMBIC_REMEDY)
        return
    yield from _unusable(facts, "ALEMBIC_CMD", text, _ALEMBIC_REMEDY)
    if program(text).rpartition("/")[2] == "alembic" and (
        command := _unknown_alembic_command(text)
    ):
        yield Finding(f"ALEMBIC_CMD: alembic has no command {command!r}", (), _ALEMBIC_REMEDY)


def _unknown_alembic_command(text: str) -> str:
    """Return the command that Alembic does not know; empty if it knows it."""
    arguments = iter(shlex.split(text)[1:])
    for argument in arguments:
        if argument in ("-c", "--config", "-n", "--name", "-x"):
            next(arguments, "")
        elif not argument.startswith("-"):
            return "" if argument in _ALEMBIC_COMMANDS else argument
    return ""


def uvicorn(facts: Facts) -> Iterator[Finding]:
    """Find a `UVICORN_CMD` that cannot be run."""
    text = facts.variables.values.get("UVICORN_CMD", "")
    yield from _unusable(facts, "UVICORN_CMD", text, _UVICORN_REMEDY)


def _unusable(facts: Facts, name: str, text: str, remedy: str) -> Iterator[Finding]:
    # Never shows the whole text: it may contain a secret.
    try:
        arguments = shlex.split(text)
    except ValueError as error:
        what = f"{name} cannot be parsed"
        yield Finding(what, (str(error).lower(),), f"close the quote, or {remedy}")
        return
    operators = [arg for arg in arguments if arg in _OPERATORS or arg.endswith(";")]
    if operators:
        evidence = "no shell runs it: the program gets this as an ordinary argument"
        what = f"{name} contains {operators[0][-2:]!r}"
        yield Finding(what, (evidence,), f"put it into a script, or {remedy}")
    names = facts.extra["missing"]
    if not names.exception() and name in names.result():
        what = f"{name}: program not found: {program(text)}"
        yield Finding(what, (), f"correct its name in .env, or {remedy}")
