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
_ALEMBIC = (
    *("branches", "check", "current", "downgrade", "edit", "ensure_version", "heads", "history"),
    *("init", "list_templates", "merge", "revision", "show", "stamp", "upgrade"),
)
_MEND_ALEMBIC = f"set ALEMBIC_CMD={DEFAULT} in .env, then: inv up"
_MEND_UVICORN = "set UVICORN_CMD= in .env, then: inv up"


def program(text: str) -> str:
    """The first word of a command; empty when it has none, or cannot be split."""
    try:
        return next(iter(shlex.split(text)), "")
    except ValueError:
        return ""


def missing(backend: MainService) -> list[str]:
    """Return the variables that name a program which does not exist beside the backend."""
    programs = {name: program(backend.variables.get(name, "")) for name in VARIABLES}
    return [name for name, word in programs.items() if word and not _exists(backend, word)]


def _exists(backend: MainService, word: str) -> bool:
    backend.execute("true")  # raises where nothing can be run
    try:
        backend.execute("sh", "-c", 'command -v -- "$0"', word)
    except CommandFailed:
        return False
    return True


def alembic(facts: Facts) -> Iterator[Finding]:
    """What applies the migrations is there, can be run, and is not nothing."""
    text = facts.variables.values.get("ALEMBIC_CMD", DEFAULT)
    if not text.strip():
        yield Finding("ALEMBIC_CMD is empty: no migrations are applied", (), _MEND_ALEMBIC)
        return
    yield from _unusable(facts, "ALEMBIC_CMD", text, _MEND_ALEMBIC)
    if program(text).rpartition("/")[2] == "alembic" and (verb := _alembic_verb(text)):
        yield Finding(f"ALEMBIC_CMD: alembic has no command {verb!r}", (), _MEND_ALEMBIC)


def _alembic_verb(text: str) -> str:
    """The word that Alembic would refuse; empty if there is none."""
    words = iter(shlex.split(text)[1:])
    for word in words:
        if word in ("-c", "--config", "-n", "--name", "-x"):
            next(words, "")
        elif not word.startswith("-"):
            return "" if word in _ALEMBIC else word
    return ""


def uvicorn(facts: Facts) -> Iterator[Finding]:
    """What starts the application can be run."""
    text = facts.variables.values.get("UVICORN_CMD", "")
    yield from _unusable(facts, "UVICORN_CMD", text, _MEND_UVICORN)


def _unusable(facts: Facts, name: str, text: str, remedy: str) -> Iterator[Finding]:
    # Never the whole text: it may hold a secret.
    try:
        words = shlex.split(text)
    except ValueError as error:
        what = f"{name} cannot be split into words"
        yield Finding(what, (str(error).lower(),), f"close the quote, or {remedy}")
        return
    operators = [word for word in words if word in _OPERATORS or word.endswith(";")]
    if operators:
        told = "no shell sees it: this is an ordinary word there, handed to the program"
        yield Finding(
            f"{name} holds {operators[0][-2:]!r}", (told,), f"put it into a script, or {remedy}"
        )
    unknown = facts.extra["missing"]
    if not unknown.exception() and name in unknown.result():
        what = f"{name} names a program that does not exist: {program(text)}"
        yield Finding(what, (), f"correct its name in .env, or {remedy}")
