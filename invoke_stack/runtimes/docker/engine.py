"""Connects to Docker Engine, reads its containers, and translates its errors."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

from invoke_stack import timestamps
from invoke_stack.errors import Unavailable
from invoke_stack.model import OUT_OF_MEMORY, EngineInfo, Replica, Status
from invoke_stack.runtimes import machine
from invoke_stack.runtimes.docker import engine_host

if TYPE_CHECKING:
    from docker import APIClient

Client: TypeAlias = "APIClient"

TIMEOUT = 30  # seconds for one call that is not a stream
SHORT_TIMEOUT = 2  # seconds for one call while choosing a runtime
SOCKET = Path("/var/run/docker.sock")  # of the engine that `docker` uses by default
GRACE = 10  # seconds from SIGTERM to SIGKILL, unless the container sets its own
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def load() -> None:
    """Import the SDK, before threads do: two at once could see it partly imported."""
    if "docker" not in sys.modules and importlib.util.find_spec("paramiko") is None:
        # The SDK imports paramiko for ssh:// even if it uses the program `ssh`.
        stub = ModuleType("paramiko")
        stub.__spec__ = ModuleSpec("paramiko", None)
        sys.modules.setdefault("paramiko", stub)
    for name in ("docker.context", "requests"):
        importlib.import_module(name)


def is_named(environ: Mapping[str, str] = os.environ) -> bool:
    """Return True if the environment names the engine to use."""
    return bool(environ.get("DOCKER_HOST") or environ.get("DOCKER_CONTEXT"))


def can_exist(environ: Mapping[str, str] = os.environ) -> bool:
    """Return False if no engine can exist; avoids the SDK, which is slow to import."""
    if is_named(environ) or os.name == "nt" or SOCKET.exists():
        return True
    folders = (environ.get("DOCKER_CONFIG"), Path.home() / ".docker")
    return any(_selects_context(Path(folder) / "config.json") for folder in folders if folder)


def _selects_context(file: Path) -> bool:
    """Return True if this configuration of Docker's client selects a context."""
    with suppress(OSError, ValueError, AttributeError):  # the SDK ignores unreadable files too
        context = json.loads(file.read_text("utf-8")).get("currentContext")
        return context not in (None, "", "default")
    return False


def no_engine_error() -> Unavailable:
    """Return the error for a machine where no engine can exist."""
    if machine.has_docker():
        return Unavailable("Docker does not answer: its socket does not exist", _START)
    return Unavailable("Docker is not installed", "install Docker with its Compose plugin")


@contextmanager
def short_timeout() -> Iterator[APIClient]:
    """Yield a client with `SHORT_TIMEOUT`; on exit its timeout becomes `TIMEOUT`."""
    client = connect(timeout=SHORT_TIMEOUT)
    try:
        yield client
    finally:
        client.timeout = TIMEOUT


def connect(environ: Mapping[str, str] = os.environ, timeout: int = TIMEOUT) -> APIClient:
    """Return a client of the engine that the `docker` command uses: DOCKER_HOST, else its context.

    Raises `Unavailable` if the engine does not answer, or the context does not exist (the SDK would
    fall back to the default engine).
    """
    load()
    import docker
    from docker.context import ContextAPI

    with errors():
        address = environ.get("DOCKER_HOST")
        if not address:
            check_context(environ.get("DOCKER_CONTEXT", ""))
            address = ContextAPI.kwargs_from_context(environment=environ).get("base_url", "")
        if address.startswith("ssh://") and not shutil.which("ssh"):
            raise Unavailable(
                f"the command `ssh` is not installed, and Docker's address is {address}",
                "install the OpenSSH client: sudo apt-get install openssh-client",
            )
        client = docker.from_env(timeout=timeout, use_ssh_client=True, environment=dict(environ))
        client.ping()
        return client.api


def check_context(context: str) -> None:
    """Raise `Unavailable` if this Docker context does not exist; empty means the current one."""
    from docker.context import ContextAPI
    from docker.context.config import get_current_context_name

    name = context or get_current_context_name()
    contexts = [each.Name for each in ContextAPI.contexts()]
    if name not in contexts:
        raise Unavailable(
            f"there is no Docker context {name!r}",
            f"available: {', '.join(contexts)}; choose with: docker context use NAME",
        )


@contextmanager
def errors() -> Iterator[None]:
    """Translate the errors of the SDK and of its connection into `Unavailable` with a hint."""
    load()
    import requests
    from docker.errors import APIError, DockerException

    try:
        yield
    except APIError as error:
        message = str(error.explanation or error).strip()
        if "not a swarm manager" in message:
            raise Unavailable("this engine is not a swarm manager", _USE_MANAGER) from None
        raise Unavailable(
            f"Docker returned an error: {message}", "see: docker events, or inv status"
        ) from None
    except (DockerException, requests.RequestException, OSError) as error:
        text = str(error)
        if "permission denied" in text.lower() or "PermissionError" in text:
            raise Unavailable(
                "permission denied on the Docker socket",
                "add yourself to the docker group, then log in again: sudo usermod -aG docker $USER",
            ) from None
        raise Unavailable(f"Docker does not answer: {_reason(text)}", _START) from None


_USE_MANAGER = "create a swarm: docker swarm init; or use a manager: docker context use NAME"
_START = "start it, or check which engine the client uses: docker context ls"


def _reason(text: str) -> str:
    for pattern, reason in (
        ("No such file", "its socket does not exist"),
        ("FileNotFound", "its socket does not exist"),
        ("refused", "connection refused"),
        ("timed out", "no answer in time"),
    ):
        if pattern in text:
            return reason
    return text.splitlines()[0][:120] if text else "unknown error"


def describe(client: APIClient) -> EngineInfo:
    """Return an engine's version, clock offset and data folder."""
    begin = datetime.now(UTC)
    with errors():
        info = client.info()
    one_way = (datetime.now(UTC) - begin) / 2
    return EngineInfo(
        version=info["ServerVersion"],
        clock_ahead=(timestamps.parse(info["SystemTime"]) - begin - one_way).total_seconds(),
        clock_error=one_way.total_seconds(),
        folder=info["DockerRootDir"],
        is_here=publishes_here(client),
    )


def publisher(client: APIClient, port: int) -> str:
    """Return the name of the container that publishes a port; empty if none does."""
    with errors():
        containers = client.containers(filters={"publish": str(port)})
    return str(containers[0]["Names"][0]).lstrip("/") if containers else ""


@functools.cache
def publishes_here(client: APIClient) -> bool:
    """Return True if the engine's published ports are certainly ports of this machine."""
    address = urlsplit(client.base_url)
    if _ssh_host(client):
        return False
    is_socket = address.scheme == "http+docker"
    on_linux = sys.platform == "linux"
    listener = ""
    if is_socket and on_linux:
        path = getattr(client.get_adapter(client.base_url), "socket_path", "")
        listener = engine_host.listener(path)
        if listener == "dockerd":
            return True
    with errors():
        return engine_host.publishes_here(
            client.info(),
            client.networks() if on_linux else (),
            platform=sys.platform,
            hostname=platform.node(),
            interfaces=engine_host.interfaces(),
            is_socket=is_socket,
            listener=listener,
            in_container=engine_host.is_in_container(),
        )


def reachable_address(client: APIClient, inspected: Mapping[str, Any]) -> str:
    """Return a container's own IP address if this machine can reach it; else empty."""
    if sys.platform != "linux" or not publishes_here(client):
        return ""
    return engine_host.bridge_address(inspected, engine_host.interfaces())


def node_name(client: APIClient) -> str:
    """Return the host of the engine's address, or its host name if the address is local."""
    host = _ssh_host(client)
    if not host and urlsplit(client.base_url).scheme != "http+docker":
        host = urlsplit(client.base_url).hostname or ""
    if host and host not in _LOOPBACK:
        return host
    if publishes_here(client):
        return platform.node()
    with errors():
        return str(client.info()["Name"])


def _ssh_host(client: APIClient) -> str:
    """Return the host of an engine that is reached over SSH; empty if it is not."""
    # `base_url` is always http+docker://ssh then.
    target = getattr(client.get_adapter(client.base_url), "ssh_host", "")
    return urlsplit(f"ssh://{target}").hostname or ""


def replica_of(inspected: Mapping[str, Any], service: str, replica: str, node: str) -> Replica:
    """Return a container as a replica, from what `docker inspect` prints for it."""
    state = inspected["State"]
    status = _STATUS.get(state["Status"], Status.EXITED)
    health = (state.get("Health") or {}).get("Status")
    running = status is Status.RUNNING
    return Replica(
        service=service,
        replica=replica,
        node=node,
        status=status,
        health=None if health in (None, "none", "") or not running else health,
        started_at=timestamps.parse(state["StartedAt"]) if running else None,
        restarts=inspected.get("RestartCount", 0),
        image=inspected["Config"]["Image"],
        ports=tuple(_published(inspected)),
        exit_code=None if running else state.get("ExitCode"),
        reason=_container_reason(state, running, health),
        identity=inspected["Id"],
        grace=inspected["Config"].get("StopTimeout") or GRACE,
    )


def with_probe_output(replica: Replica, inspected: Mapping[str, Any]) -> Replica:
    """Return a starting replica with the last output of its container's health check as reason."""
    reason = _container_reason(inspected["State"], running=True, health="starting")
    return replace(replica, reason=reason)


def main_command(client: APIClient, container: str) -> str:
    """Return the command line of a container's main process: process 1, or the child of its init."""
    with errors():
        rows = client.top(container, "-eo pid,ppid,args")["Processes"]
    processes = sorted((int(pid), int(parent), args) for pid, parent, args in rows)
    inits = [pid for pid, _, args in processes if _INIT.match(args)]
    children = [args for _, parent, args in processes if parent in inits[:1]]
    return children[0] if children else processes[0][2] if processes else ""


_INIT = re.compile(r"(\S*/)?(docker-init|tini|dumb-init)\b")


def with_memory_kills(client: APIClient, replicas: list[Replica]) -> list[Replica]:
    """Return the replicas; those restarted after running out of memory have that as a reason.

    A restart clears `OOMKilled`, but the engine keeps its last 256 events.
    """
    starts = {replica.identity: replica.started_at for replica in replicas if replica.restarts}
    times = [start for start in starts.values() if start]
    if not times:
        return replicas
    # By the engine's own clock: with an `until` in the future the call would block until then.
    until = int(max(times).timestamp()) + 1
    filters = {"event": ["oom"], "container": list(starts)}
    with errors():
        events = list(client.events(since=0, until=until, filters=filters, decode=True))
    kills = {event["Actor"]["ID"]: datetime.fromtimestamp(event["time"], UTC) for event in events}
    return [
        _with_memory_kill(replica, kills[replica.identity])
        if replica.running and replica.identity in kills
        else replica
        for replica in replicas
    ]


def _with_memory_kill(replica: Replica, killed_at: datetime) -> Replica:
    reason = f"it {OUT_OF_MEMORY} at {killed_at:%H:%M:%S} UTC and was restarted"
    return replace(replica, reason="; ".join(filter(None, (replica.reason, reason))))


_STATUS = {
    "running": Status.RUNNING,
    "paused": Status.PAUSED,
    "restarting": Status.RESTARTING,
    "created": Status.CREATED,
}


def _container_reason(state: Mapping[str, Any], running: bool, health: str | None) -> str:
    if state.get("OOMKilled"):
        return f"it {OUT_OF_MEMORY}"
    if running and health in ("unhealthy", "starting"):
        log = (state.get("Health") or {}).get("Log") or ()
        outputs = [entry["Output"].strip() for entry in log]
        return outputs[-1].splitlines()[-1][:200] if outputs and outputs[-1] else ""
    if running or state["Status"] == "created":
        return state.get("Error", "") or ""
    return state.get("Error") or f"exit code {state.get('ExitCode')}"


def published_address(inspected: Mapping[str, Any], port: int) -> str:
    """Return the address on the engine's machine of a published container port; else empty."""
    return next(_published(inspected, f"{port}/tcp"), "")


def _published(inspected: Mapping[str, Any], port: str = "") -> Iterator[str]:
    ports = (inspected.get("NetworkSettings") or {}).get("Ports") or {}
    for name, bindings in ports.items():
        for binding in bindings or ():
            address = binding["HostIp"]
            if ":" in address or port not in ("", name):
                continue  # another port, or the same one for IPv6
            yield f"{'127.0.0.1' if address in ('', '0.0.0.0') else address}:{binding['HostPort']}"  # noqa: S104
