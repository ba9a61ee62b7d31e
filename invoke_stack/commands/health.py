"""Check the health of the main service, where it runs or at a given address."""

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
    """Check each replica of the main service within `timeout` seconds. Raises `OutOfReach`."""
    readiness = session.config.readiness
    replicas = session.runtime.replicas(session.config.service, probe=not readiness.url)
    # In parallel, because a replica that hangs uses up its whole timeout.
    with ThreadPoolExecutor(len(replicas)) as pool:
        return list(
            pool.map(lambda r: check_replica(session.runtime, r, timeout, readiness), replicas)
        )


def check_address(config: Config, base: str, timeout: float) -> Sequence[Health]:
    """Check the main service at the address `base` within `timeout` seconds."""
    answer = http.fetch(base + (urlsplit(config.ready).path or "/ready"), timeout)
    return [read_health(answer, _unnamed_replica(config), config.readiness)]


def unreachable_health(config: Config, reason: str) -> Health:
    """Return the health of a main service that cannot be checked, with the `reason`."""
    return read_health(
        Answer("", None, {}, 0.0, reason), _unnamed_replica(config), config.readiness
    )


def _unnamed_replica(config: Config) -> Replica:
    return Replica(config.service, config.service, "", Status.RUNNING)


def check_replica(
    runtime: Runtime, replica: Replica, timeout: float, readiness: Readiness
) -> Health:
    """Check one replica within `timeout` seconds.

    Without a readiness address, return the result of its own health check in `replica`.
    """
    url = readiness.url
    if not url:
        return container_health(replica)
    if url.startswith("/"):
        answer = runtime.get(replica, url, timeout)
    elif is_loopback(url) and not runtime.is_here():
        reason = f"{url} is an address of this machine, but {replica.service} runs elsewhere"
        hint = f"set stack.ready in invoke.yaml to a path: {urlsplit(url).path or '/ready'}"
        answer = Answer("", None, {}, 0.0, f"{reason}; {hint}", was_sent=False)
    else:
        answer = http.fetch(url, timeout)
    return read_health(answer, replica, readiness)


def is_loopback(url: str) -> bool:
    """Return True if a URL points to the machine that opens it, such as localhost."""
    host = urlsplit(url).hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def schema_of(body: Mapping[str, Any]) -> Schema:
    """Return the state of the schema from a response body; parts that it lacks are None."""
    pending = body.get("pending")
    return Schema(
        current=body.get("current"),
        head=body.get("head"),
        pending=tuple(pending) if isinstance(pending, list) else None,
    )
