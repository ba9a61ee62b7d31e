"""The check of `DATABASE_URL` and `REDIS_URL`."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from invoke_stack.model import Finding
from invoke_stack.profile.facts import Facts

_SCHEMES = {"DATABASE_URL": ("postgresql", "postgres"), "REDIS_URL": ("redis", "rediss")}
_PORTS = {"DATABASE_URL": 5432, "REDIS_URL": 6379}


def addresses(facts: Facts) -> Iterator[Finding]:
    """`DATABASE_URL` and `REDIS_URL` can be read, and say the same as their parts."""
    if not facts.in_containers:
        return  # which ignores all of them
    for name, parts in (
        ("DATABASE_URL", ("DB_HOST", "DB_PORT")),
        ("REDIS_URL", ("REDIS_HOST", "REDIS_PORT")),
    ):
        if url := facts.variables.values.get(name):
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
    said_host = facts.variables.values.get(parts[0]) or host
    said_port = facts.variables.values.get(parts[1]) or str(port)
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
