"""Looks at the main service, where it runs or at an address."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from invoke_stack.commands.session import Session
from invoke_stack.config import Config
from invoke_stack.model import Answer, Health, Replica, Schema
from invoke_stack.profile import readiness
from invoke_stack.profile.readiness import READY
from invoke_stack.runtimes import http
from invoke_stack.runtimes.base import Runtime


def look(session: Session, timeout: float) -> Sequence[Health]:
    """Look at each replica of the main service once, within `timeout` seconds. Raises `OutOfReach`."""
    asked = session.config.ready
    replicas = session.runtime.replicas(session.config.service, probe=not asked)
    if not asked:
        return [readiness.by_probe(replica) for replica in replicas]
    # Side by side, because one that hangs takes all of its time.
    with ThreadPoolExecutor(len(replicas)) as pool:
        return list(pool.map(lambda each: check(session.runtime, each, timeout, asked), replicas))


def look_at(config: Config, base: str, timeout: float) -> Sequence[Health]:
    """Look at the main service at another address, `base`, within `timeout` seconds."""
    path = urlsplit(config.ready).path or READY
    answer = http.fetch(base + path, timeout)
    return [readiness.read(answer, config.service, config.service, "", path)]


def check(runtime: Runtime, replica: Replica, timeout: float, where: str = READY) -> Health:
    """Look at one replica within `timeout` seconds: at a path of its port, or at an address."""
    if where.startswith("/"):
        answer = runtime.get(replica, where, timeout)
    elif is_loopback(where) and not runtime.is_here():
        reason = f"{where} is an address of this machine, and {replica.service} runs elsewhere"
        hint = f"set stack.ready in invoke.yaml to a path: {urlsplit(where).path or READY}"
        answer = Answer("", None, {}, 0.0, f"{reason}; {hint}", asked=False)
    else:
        answer = http.fetch(where, timeout)
    return readiness.read(answer, replica.service, replica.replica, replica.node, where)


def is_loopback(url: str) -> bool:
    """Return True if the host of a URL is this machine, whatever the machine."""
    host = urlsplit(url).hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def schema(runtime: Runtime, replica: Replica, timeout: float) -> Schema:
    """Return where the schema stands; every part is None when the backend does not answer."""
    body = runtime.get(replica, "/migrations", timeout).body
    pending = body.get("pending")
    return Schema(
        current=body.get("current"),
        head=body.get("head"),
        pending=tuple(pending) if isinstance(pending, list) else None,
    )
