"""The HTTP probe, and the state that its answers mean."""

from __future__ import annotations

import http.client
import ipaddress
import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlsplit

from invoke_stack.model import Answer, Health, Replica, Schema, State
from invoke_stack.runtimes.base import Runtime

_WORST_LAST = tuple(State)


READY = "/ready"
"""deal-scout's own endpoint, with the body of `/health`; of others only the HTTP status is known."""


def check(runtime: Runtime, replica: Replica, timeout: float, where: str = READY) -> Health:
    """Look at one replica within `timeout` seconds: at a path of its port, or at an address."""
    if where.startswith("/"):
        answer = runtime.get(replica, where, timeout)
    elif is_loopback(where) and not runtime.is_here():
        reason = f"{where} is an address of this machine, and {replica.service} runs elsewhere"
        hint = f"set ops.health in invoke.yaml to a path: {urlsplit(where).path or READY}"
        answer = Answer("", None, {}, 0.0, f"{reason}; {hint}", asked=False)
    else:
        answer = fetch(where, timeout)
    return read(answer, replica.service, replica.replica, replica.node, where)


def is_loopback(url: str) -> bool:
    """Return True if the host of a URL is this machine, whatever the machine."""
    host = urlsplit(url).hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def by_probe(replica: Replica) -> Health:
    """What the runtime's own probe of a replica means; without one, running is enough."""
    state = _PROBED.get(replica.health, State.STARTING)
    if not replica.running:
        state = State.UNREACHABLE
    nothing = Answer("", None, {}, 0.0, replica.reason)
    return replace(read(nothing, replica.service, replica.replica, replica.node), state=state)


_PROBED = {"healthy": State.HEALTHY, None: State.HEALTHY, "unhealthy": State.UNHEALTHY}


def read(answer: Answer, service: str, replica: str, node: str, where: str = READY) -> Health:
    """What an answer of `where` means."""
    body = answer.body
    problem = answer.problem
    if not answer.asked:
        state = State.UNKNOWN
    elif answer.status is None:
        state = State.UNREACHABLE
    elif answer.status == 200:
        state = State.HEALTHY
    elif where != READY:
        state = State.UNHEALTHY
        problem = f"HTTP {answer.status}"
    elif "db" not in body:
        state = State.UNREACHABLE
        problem = f"HTTP {answer.status} without a health body: something else answers there"
    elif body.get("phase") not in (None, "serving"):
        state = State.STARTING
    elif body.get("db") and body.get("redis"):
        state = State.DEGRADED
    else:
        state = State.UNHEALTHY
    return Health(
        service=service,
        replica=replica,
        node=node,
        state=state,
        url=answer.url,
        http_status=_health_status(answer, state),
        latency_ms=None if answer.status is None else round(answer.seconds * 1000, 1),
        checked_at=datetime.now(UTC),
        body=body,
        problem=problem,
        through_engine=answer.through_engine,
    )


def _health_status(answer: Answer, state: State) -> int | None:
    """The status that `/health` has with this body: it depends on db and redis alone."""
    if "db" not in answer.body:
        return answer.status
    return 200 if answer.body.get("db") and answer.body.get("redis") else 503


def worst(healths: Sequence[Health]) -> Health:
    """The one that the whole service is judged by."""
    return max(healths, key=lambda health: _WORST_LAST.index(health.state))


def explain(health: Health) -> str:
    """In a few words, why a service is not healthy."""
    body = health.body
    match health.state:
        case State.HEALTHY:
            return ""
        case State.UNREACHABLE:
            return health.problem or "no answer"
        case State.UNKNOWN:
            return health.problem
        case State.STARTING:
            return _phase(body)
        case State.DEGRADED:
            return f"the schema is not current (migrations: {body.get('migrations')})"
        case State.UNHEALTHY if "db" not in body:
            return health.problem
        case State.UNHEALTHY:
            away = [name for name in ("db", "redis") if not body.get(name)]
            names = {"db": "the database", "redis": "Redis"}
            return " and ".join(names[name] for name in away) + (
                " does not answer" if len(away) == 1 else " do not answer"
            )


def _phase(body: Mapping[str, Any]) -> str:
    what = {"waiting": "waiting for the database", "migrating": "applying migrations"}
    told = what.get(str(body.get("phase")), str(body.get("phase")))
    if body.get("attempt") and body.get("attempts"):
        told += f", attempt {body['attempt']} of {body['attempts']}"
    return told


def fetch(url: str, timeout: float) -> Answer:
    """GET a URL within `timeout` seconds, without proxies and without following redirects."""
    begin = time.perf_counter()
    try:
        parts = urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        secure = parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=timeout)
        with closing(connection):
            connection.connect()
            with _cut_after(connection.sock, begin + timeout - time.perf_counter()):
                connection.request("GET", quote(target, _AS_THEY_ARE))
                with connection.getresponse() as response:
                    body = _json(response.read(1 << 20))
        seconds = time.perf_counter() - begin
        if seconds >= timeout:
            raise TimeoutError
        return Answer(url, response.status, body, seconds)
    except (OSError, http.client.HTTPException, ValueError) as error:
        seconds = time.perf_counter() - begin
        return Answer(url, None, {}, seconds, _problem(error, seconds, timeout))


_AS_THEY_ARE = "%/?:@!$&'()*+,;=~"


@contextmanager
def _cut_after(sock: socket.socket, seconds: float) -> Iterator[None]:
    """A bound on a whole exchange: a socket's own bounds each read, and a slow drip has many."""

    def cut() -> None:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _json(content: bytes) -> dict[str, object]:
    try:
        body = json.loads(content)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _problem(error: Exception, seconds: float, timeout: float) -> str:
    match error:
        case _ if isinstance(error, TimeoutError) or seconds >= timeout:
            return f"no answer within {timeout:g} s"
        case ConnectionRefusedError():
            return "connection refused"
        case ConnectionError():
            return "the connection was closed without an answer"
        case OSError():
            return "cannot connect"
        case http.client.HTTPException():
            return "what answers there does not speak HTTP"
    return str(error)


def schema(runtime: Runtime, replica: Replica, timeout: float) -> Schema:
    """Where the schema stands, as the backend tells it; all None when it does not answer."""
    body = runtime.get(replica, "/migrations", timeout).body
    pending = body.get("pending")
    return Schema(
        current=body.get("current"),
        head=body.get("head"),
        pending=tuple(pending) if isinstance(pending, list) else None,
    )
