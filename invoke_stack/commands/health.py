"""Looks at the main service, where it runs or at an address."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

from invoke_stack.commands.session import Session
from invoke_stack.config import Config
from invoke_stack.model import Answer, Health, Replica, Schema, Status
from invoke_stack.profile.readiness import Readiness, container_health, read_health
from invoke_stack.runtimes import http
from invoke_stack.runtimes.base import Runtime


def check_service(session: Session, timeout: float) -> Sequence[Health]:
    """Look at each replica of the main service once, within `timeout` seconds. Raises `OutOfReach`."""
    readiness = session.config.readiness
    replicas = session.runtime.replicas(session.config.service, probe=not readiness.url)
    # Side by side, because one that hangs takes all of its time.
    with ThreadPoolExecutor(len(replicas)) as pool:
        return list(
            pool.map(lambda r: check_replica(session.runtime, r, timeout, readiness), replicas)
        )


def check_address(config: Config, base: str, timeout: float) -> Sequence[Health]:
    """Look at the main service at another address, `base`, within `timeout` seconds."""
    answer = http.fetch(base + (urlsplit(config.ready).path or "/ready"), timeout)
    return [read_health(answer, _anywhere(config), config.readiness)]


def unreachable_health(config: Config, reason: str) -> Health:
    """Return the health of the main service while nothing can be seen, for this `reason`."""
    return read_health(Answer("", None, {}, 0.0, reason), _anywhere(config), config.readiness)


def _anywhere(config: Config) -> Replica:
    return Replica(config.service, config.service, "", Status.RUNNING)


def check_replica(
    runtime: Runtime, replica: Replica, timeout: float, readiness: Readiness
) -> Health:
    """Look at one replica within `timeout` seconds.

    Without a readiness address its own health check counts, as it was when the replica was read.
    """
    url = readiness.url
    if not url:
        return container_health(replica)
    if url.startswith("/"):
        answer = runtime.get(replica, url, timeout)
    elif is_loopback(url) and not runtime.is_here():
        reason = f"{url} is an address of this machine, and {replica.service} runs elsewhere"
        hint = f"set stack.ready in invoke.yaml to a path: {urlsplit(url).path or '/ready'}"
        answer = Answer("", None, {}, 0.0, f"{reason}; {hint}", was_sent=False)
    else:
        answer = http.fetch(url, timeout)
    return read_health(answer, replica, readiness)


def is_loopback(url: str) -> bool:
    """Return True if the host of a URL is this machine, whatever the machine."""
    host = urlsplit(url).hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def schema_of(body: Mapping[str, Any]) -> Schema:
    """Return where the schema stands; every part is None if the body does not say."""
    pending = body.get("pending")
    return Schema(
        current=body.get("current"),
        head=body.get("head"),
        pending=tuple(pending) if isinstance(pending, list) else None,
    )
