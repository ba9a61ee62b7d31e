"""The check of `.env`."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from invoke_stack.errors import StackError
from invoke_stack.model import Finding
from invoke_stack.profile.facts import Facts, NoAnswer

_FOREIGN = ("COMPOSE_", "DOCKER_", "BUILDKIT_", "INVOKE_")
_ALIKE = 0.8  # of difflib: from here on a name is taken for a misspelt one


def env(facts: Facts) -> Iterator[Finding]:
    """`.env` is there, can be read, and is filled in."""
    variables = facts.variables
    for problem in variables.errors:
        yield Finding(problem.message, (), problem.hint)
    if variables.missing and facts.in_containers:
        yield from _lacking(facts)
    for name in variables.unknown:
        if not name.startswith(_FOREIGN):
            yield from _misspelt(name, variables.example_names)


def _lacking(facts: Facts) -> Iterator[Finding]:
    """What the Compose file requires, and nothing sets."""
    lacking = ", ".join(facts.variables.missing)
    evidence = (f"the Compose file requires {lacking}",)
    file_exists = facts.variables.file_exists
    error = facts.will_write_env.exception()
    if isinstance(error, StackError):
        if file_exists and len(facts.variables.missing) < len(facts.variables.required):
            yield _half_filled(facts.variables.missing)
        elif facts.engine.exception():
            what = f".env lacks {lacking}" if file_exists else "there is no .env"
            yield Finding(what, evidence, "make the engine answer first, then: inv doctor")
        # What keeps every service from being found is another check's.
        elif not isinstance(error, NoAnswer) and str(error) != str(facts.replicas.exception()):
            yield Finding(error.message, evidence, error.hint)
    elif facts.will_write_env.result() and file_exists:
        yield Finding(f".env lacks {lacking}", evidence, "inv up adds new passwords")
    elif facts.will_write_env.result():
        yield Finding("there is no .env", evidence, "inv up writes one, with new passwords")
    elif file_exists:
        yield _half_filled(facts.variables.missing)
    else:
        yield Finding("there is no .env", evidence, f"write one that sets {lacking}")


def _half_filled(lacking: tuple[str, ...]) -> Finding:
    are = "are" if len(lacking) > 1 else "is"
    what = f".env is half filled: {', '.join(lacking)} {are} empty"
    return Finding(what, ("the Compose file requires them",), "fill in what is empty there")


def _misspelt(name: str, known: tuple[str, ...]) -> Iterator[Finding]:
    close = difflib.get_close_matches(name, known, 1, _ALIKE)
    if close:
        what = f"{name} in .env is read by nothing"
        yield Finding(what, (f"it is nearly {close[0]}",), f"write {close[0]}=… in its place")
