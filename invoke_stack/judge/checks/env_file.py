"""The check of `.env`."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from invoke_stack.errors import StackError
from invoke_stack.model import Finding
from invoke_stack.profile.facts import Facts, NoAnswer

_IGNORED_PREFIXES = ("COMPOSE_", "DOCKER_", "BUILDKIT_", "INVOKE_")
_MIN_SIMILARITY = 0.8  # difflib ratio from which on a name counts as misspelt


def env(facts: Facts) -> Iterator[Finding]:
    """Find problems of `.env`: invalid lines, missing values and misspelt names."""
    variables = facts.variables
    for error in variables.errors:
        yield Finding(error.message, (), error.hint)
    if variables.missing and facts.in_containers:
        yield from _missing(facts)
    for name in variables.unknown:
        if not name.startswith(_IGNORED_PREFIXES):
            yield from _misspelt(name, variables.example_names)


def _missing(facts: Facts) -> Iterator[Finding]:
    """Find variables that the Compose file requires and that are not set."""
    names = ", ".join(facts.variables.missing)
    evidence = (f"the Compose file requires {names}",)
    file_exists = facts.variables.file_exists
    error = facts.will_write_env.exception()
    if isinstance(error, StackError):
        if file_exists and len(facts.variables.missing) < len(facts.variables.required):
            yield _incomplete(facts.variables.missing)
        elif facts.engine.exception():
            what = f".env does not set {names}" if file_exists else "there is no .env"
            yield Finding(
                what, evidence, "fix the connection to the engine first, then: inv doctor"
            )
        # An error that hides every service is reported by `running`.
        elif not isinstance(error, NoAnswer) and str(error) != str(facts.replicas.exception()):
            yield Finding(error.message, evidence, error.hint)
    elif facts.will_write_env.result() and file_exists:
        yield Finding(f".env does not set {names}", evidence, "inv up generates the passwords")
    elif facts.will_write_env.result():
        yield Finding("there is no .env", evidence, "inv up creates one with new passwords")
    elif file_exists:
        yield _incomplete(facts.variables.missing)
    else:
        yield Finding("there is no .env", evidence, f"create one that sets {names}")


def _incomplete(missing: tuple[str, ...]) -> Finding:
    names = ", ".join(missing)
    are = "are" if len(missing) > 1 else "is"
    what = f".env is incomplete: {names} {are} not set"
    return Finding(what, ("required by the Compose file",), f"set {names} in .env")


def _misspelt(name: str, names: tuple[str, ...]) -> Iterator[Finding]:
    matches = difflib.get_close_matches(name, names, 1, _MIN_SIMILARITY)
    if matches:
        what = f"unknown variable {name} in .env"
        yield Finding(what, (f"did you mean {matches[0]}?",), f"rename it to {matches[0]} in .env")
