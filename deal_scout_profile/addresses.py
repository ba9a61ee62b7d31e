"""The check of `DATABASE_URL` and `REDIS_URL`."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from invoke_stack.model import Finding
from invoke_stack.profile.facts import Facts

_SCHEMES = {"DATABASE_URL": ("postgresql", "postgres"), "REDIS_URL": ("redis", "rediss")}
_PORTS = {"DATABASE_URL": 5432, "REDIS_URL": 6379}


def addresses(facts: Facts) -> Iterator[Finding]:
    """Find URLs that are invalid or conflict with the variables of their parts."""
    if not facts.in_containers:
        return  # the local runtime ignores these variables
    for name, parts in (
        ("DATABASE_URL", ("DB_HOST", "DB_PORT")),
        ("REDIS_URL", ("REDIS_HOST", "REDIS_PORT")),
    ):
        if url := facts.variables.values.get(name):
            yield from _address(facts, name, url, parts)


def _address(facts: Facts, name: str, url: str, parts: tuple[str, str]) -> Iterator[Finding]:
    # Never shows the URL itself: it contains a password.
    address = _host_and_port(name, url)
    if address is None:
        yield Finding(
            f"{name} is not a valid URL",
            ("percent-encode @ : / # ? % in the password: %40 for @",),
            f"write it as {name}={_SCHEMES[name][0]}://user:password@host:{_PORTS[name]}/name",
        )
        return
    host, port = address
    if host in ("localhost", "127.0.0.1", "::1"):
        evidence = ("inside a container, that is the container itself",)
        what = f"{name} points to {host}:{port}"
        yield Finding(
            what, evidence, f"use the name of a service or a host, or set {name}= in .env"
        )
        return
    part_host = facts.variables.values.get(parts[0]) or host
    part_port = facts.variables.values.get(parts[1]) or str(port)
    if (part_host, part_port) != (host, str(port)):
        yield Finding(
            f"{name} conflicts with {parts[0]} and {parts[1]}",
            (f"it points to {host}:{port} and takes precedence; they say {part_host}:{part_port}",),
            f"set {parts[0]}={host} and {parts[1]}={port} in .env, or {name}= there; then: inv up",
        )


def _host_and_port(name: str, url: str) -> tuple[str, int] | None:
    """Return the host and port of a URL; None if it is invalid."""
    try:
        split = urlsplit(url)
        host, port = split.hostname, split.port
    except ValueError:
        return None
    # An unencoded / ? or # in the password ends the host part too early.
    is_cut = "@" in split.path + split.query + split.fragment
    if not host or is_cut or split.scheme.partition("+")[0] not in _SCHEMES[name]:
        return None
    return host, port or _PORTS[name]
