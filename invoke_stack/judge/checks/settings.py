"""Checks of `.env` and of what its variables say together."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from urllib.parse import urlsplit

from invoke_stack.judge.checks.facts import Facts, Unknown
from invoke_stack.model import Finding

_FOREIGN = ("COMPOSE_", "DOCKER_", "BUILDKIT_", "INVOKE_")
_ALIKE = 0.8  # of difflib: from here on a name is taken for a misspelt one
_SCHEMES = {"DATABASE_URL": ("postgresql", "postgres"), "REDIS_URL": ("redis", "rediss")}
_PORTS = {"DATABASE_URL": 5432, "REDIS_URL": 6379}


def env(facts: Facts) -> Iterator[Finding]:
    """`.env` is there, can be read, and is filled in."""
    settings = facts.settings
    for problem in settings.refused:
        yield Finding(problem.message, (), problem.hint)
    if settings.lacking and facts.runtime != "local":
        yield from _lacking(facts)
    for name in settings.unused:
        if not name.startswith(_FOREIGN):
            yield from _misspelt(name, settings.names)


def _lacking(facts: Facts) -> Iterator[Finding]:
    """What the Compose file requires, and nothing sets."""
    lacking = ", ".join(facts.settings.lacking)
    evidence = (f"the Compose file requires {lacking}",)
    file_exists = facts.settings.file_exists
    if isinstance(facts.writes_env, Unknown):
        if file_exists and len(facts.settings.lacking) < len(facts.settings.required):
            yield _half_filled(facts.settings.lacking)
        elif isinstance(facts.engine, Unknown):
            what = f".env lacks {lacking}" if file_exists else "there is no .env"
            yield Finding(what, evidence, "make the engine answer first, then: inv doctor")
        # Whether the stack is another checkout's, is another check's.
        elif not facts.writes_env.late and facts.writes_env != facts.replicas:
            yield Finding(facts.writes_env.why, evidence, facts.writes_env.hint)
    elif facts.writes_env and file_exists:
        yield Finding(f".env lacks {lacking}", evidence, "inv up adds new passwords")
    elif facts.writes_env:
        yield Finding("there is no .env", evidence, "inv up writes one, with new passwords")
    elif file_exists:
        yield _half_filled(facts.settings.lacking)
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


def addresses(facts: Facts) -> Iterator[Finding]:
    """`DATABASE_URL` and `REDIS_URL` can be read, and say the same as their parts."""
    if facts.runtime == "local":
        return  # it ignores all of them
    for name, parts in (
        ("DATABASE_URL", ("DB_HOST", "DB_PORT")),
        ("REDIS_URL", ("REDIS_HOST", "REDIS_PORT")),
    ):
        if url := facts.settings.variables.get(name):
            yield from _address(facts, name, url, parts)


def _address(facts: Facts, name: str, url: str, parts: tuple[str, str]) -> Iterator[Finding]:
    # Never the URL itself: it holds a password.
    where = _host_and_port(name, url)
    if where is None:
        yield Finding(
            f"{name} cannot be read",
            ("a password with any of @ : / # ? % must be percent-encoded: %40 for @",),
            f"write it as {name}={_SCHEMES[name][0]}://user:password@host:{_PORTS[name]}/name",
        )
        return
    host, port = where
    if host in ("localhost", "127.0.0.1", "::1"):
        evidence = ("inside a container that is the container itself",)
        what = f"{name} leads to {host}:{port}"
        yield Finding(what, evidence, f"name a service or a machine, or set {name}= in .env")
        return
    said_host = facts.settings.variables.get(parts[0]) or host
    said_port = facts.settings.variables.get(parts[1]) or str(port)
    if (said_host, said_port) != (host, str(port)):
        yield Finding(
            f"{name} contradicts {parts[0]} and {parts[1]}",
            (f"it leads to {host}:{port} and wins; they say {said_host}:{said_port}",),
            f"set {parts[0]}={host} and {parts[1]}={port} in .env, or {name}= there; then: inv up",
        )


def _host_and_port(name: str, url: str) -> tuple[str, int] | None:
    """Where a URL leads; None when nothing sensible can be read from it."""
    try:
        split = urlsplit(url)
        host, port = split.hostname, split.port
    except ValueError:
        return None
    cut = "@" in split.path + split.query + split.fragment  # a / ? or # of the password cut it
    if not host or cut or split.scheme.partition("+")[0] not in _SCHEMES[name]:
        return None
    return host, port or _PORTS[name]
