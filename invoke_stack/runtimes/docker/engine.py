"""Docker Engine, for the runtimes that use it: finding it, reading its containers, its errors."""

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
PATIENCE = 2  # seconds for one answer where another place may be chosen instead
SOCKET = Path("/var/run/docker.sock")  # of the engine that `docker` uses by default
GRACE = 10  # seconds that the engine gives a container which names none
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def load() -> None:
    """Import the SDK. Two threads that both come first would find it half imported."""
    if "docker" not in sys.modules and importlib.util.find_spec("paramiko") is None:
        # The SDK imports it for ssh:// even where the program `ssh` does the work.
        stub = ModuleType("paramiko")
        stub.__spec__ = ModuleSpec("paramiko", None)
        sys.modules.setdefault("paramiko", stub)
    for name in ("docker.context", "requests"):
        importlib.import_module(name)


def is_named(environ: Mapping[str, str] = os.environ) -> bool:
    """Return True if the environment says which engine to use."""
    return bool(environ.get("DOCKER_HOST") or environ.get("DOCKER_CONTEXT"))


def can_exist(environ: Mapping[str, str] = os.environ) -> bool:
    """Return False if no engine can be there, without the SDK, which takes long to import."""
    if is_named(environ) or os.name == "nt" or SOCKET.exists():
        return True
    folders = (environ.get("DOCKER_CONFIG"), Path.home() / ".docker")
    return any(_names_context(Path(folder) / "config.json") for folder in folders if folder)


def _names_context(file: Path) -> bool:
    """Return True if this configuration of Docker's client chooses a context."""
    with suppress(OSError, ValueError, AttributeError):  # the SDK ignores what it cannot read, too
        context = json.loads(file.read_text("utf-8")).get("currentContext")
        return context not in (None, "", "default")
    return False


def absence() -> Unavailable:
    """Return the error of a machine on which no engine can exist."""
    if machine.has_docker():
        return Unavailable("Docker does not answer: its socket does not exist", _START)
    return Unavailable("Docker is not installed", "install Docker with its Compose plugin")


@contextmanager
def patience() -> Iterator[APIClient]:
    """A client that waits `PATIENCE` for each answer, and afterwards as long as any other."""
    client = connect(timeout=PATIENCE)
    try:
        yield client
    finally:
        client.timeout = TIMEOUT


def connect(environ: Mapping[str, str] = os.environ, timeout: int = TIMEOUT) -> APIClient:
    """A client of the engine that the `docker` command would use: DOCKER_HOST, else its context.

    The SDK takes the default engine when the context does not exist; that is an error here.
    Raises `Unavailable` when there is no such engine, or it does not answer.
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
                "install OpenSSH's client: sudo apt-get install openssh-client",
            )
        client = docker.from_env(timeout=timeout, use_ssh_client=True, environment=dict(environ))
        client.ping()
        return client.api


def check_context(wanted: str) -> None:
    """Raise `Unavailable` when there is no Docker context of this name; empty: the current one."""
    from docker.context import ContextAPI
    from docker.context.config import get_current_context_name

    name = wanted or get_current_context_name()
    known = [context.Name for context in ContextAPI.contexts()]
    if name not in known:
        raise Unavailable(
            f"there is no Docker context {name!r}",
            f"there are: {', '.join(known)}; choose with: docker context use NAME",
        )


@contextmanager
def errors() -> Iterator[None]:
    """Turn what the SDK and the connection below it raise into `Unavailable` with a remedy."""
    load()
    import requests
    from docker.errors import APIError, DockerException

    try:
        yield
    except APIError as error:
        said = str(error.explanation or error).strip()
        if "not a swarm manager" in said:
            raise Unavailable("this engine is no manager of a swarm", _MANAGER) from None
        raise Unavailable(f"Docker refused: {said}", "see: docker events, or inv status") from None
    except (DockerException, requests.RequestException, OSError) as error:
        text = str(error)
        if "permission denied" in text.lower() or "PermissionError" in text:
            raise Unavailable(
                "Docker's socket may not be opened by this user",
                "join its group and log in again: sudo usermod -aG docker $USER",
            ) from None
        raise Unavailable(f"Docker does not answer: {_reason(text)}", _START) from None


_MANAGER = "make it one: docker swarm init; or choose one: docker context use NAME"
_START = "start it, or look where the client looks: docker context ls"


def _reason(text: str) -> str:
    for sign, meaning in (
        ("No such file", "its socket does not exist"),
        ("FileNotFound", "its socket does not exist"),
        ("refused", "connection refused"),
        ("timed out", "no answer in time"),
    ):
        if sign in text:
            return meaning
    return text.splitlines()[0][:120] if text else "unknown error"


def describe(client: APIClient) -> EngineInfo:
    """Ask an engine about itself."""
    begin = datetime.now(UTC)
    with errors():
        told = client.info()
    took = (datetime.now(UTC) - begin) / 2
    return EngineInfo(
        version=told["ServerVersion"],
        clock_ahead=(timestamps.parse(told["SystemTime"]) - begin - took).total_seconds(),
        clock_error=took.total_seconds(),
        folder=told["DockerRootDir"],
        is_here=publishes_here(client),
    )


def publisher(client: APIClient, port: int) -> str:
    """The name of the container that publishes a port; empty if none does."""
    with errors():
        found = client.containers(filters={"publish": str(port)})
    return str(found[0]["Names"][0]).lstrip("/") if found else ""


@functools.cache
def publishes_here(client: APIClient) -> bool:
    """Return True if a port that the engine publishes is certainly a port of this machine."""
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
    """Return a container's own address if it can be reached from here; empty if not."""
    if sys.platform != "linux" or not publishes_here(client):
        return ""
    return engine_host.bridge_address(inspected, engine_host.interfaces())


def node_name(client: APIClient) -> str:
    """Return the machine that the engine runs on: by its address, or by its own host name."""
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
    # The client's own address is always http+docker://ssh then.
    target = getattr(client.get_adapter(client.base_url), "ssh_host", "")
    return urlsplit(f"ssh://{target}").hostname or ""


def replica_of(inspected: Mapping[str, Any], service: str, replica: str, node: str) -> Replica:
    """A container as the engine describes it."""
    state = inspected["State"]
    status = _STATUS.get(state["Status"], Status.EXITED)
    probe = (state.get("Health") or {}).get("Status")
    running = status is Status.RUNNING
    return Replica(
        service=service,
        replica=replica,
        node=node,
        status=status,
        health=None if probe in (None, "none", "") or not running else probe,
        started_at=timestamps.parse(state["StartedAt"]) if running else None,
        restarts=inspected.get("RestartCount", 0),
        image=inspected["Config"]["Image"],
        ports=tuple(_published(inspected)),
        exit_code=None if running else state.get("ExitCode"),
        reason=_why(state, running, probe),
        identity=inspected["Id"],
        grace=inspected["Config"].get("StopTimeout") or GRACE,
    )


def with_probe(replica: Replica, inspected: Mapping[str, Any]) -> Replica:
    """A replica that is starting, with what its container's probe said last as the reason."""
    return replace(replica, reason=_why(inspected["State"], running=True, probe="starting"))


def main_command(client: APIClient, identity: str) -> str:
    """The command line of a container's main process: process 1, or what its init has started."""
    with errors():
        listed = client.top(identity, "-eo pid,ppid,args")["Processes"]
    rows = sorted((int(pid), int(parent), args) for pid, parent, args in listed)
    inits = [pid for pid, _, args in rows if _INIT.match(args)]
    below = [args for _, parent, args in rows if parent in inits[:1]]
    return below[0] if below else rows[0][2] if rows else ""


_INIT = re.compile(r"(\S*/)?(docker-init|tini|dumb-init)\b")


def remember_memory(client: APIClient, replicas: list[Replica]) -> list[Replica]:
    """The same with the reason of those that were restarted because they ran out of memory.

    The engine forgets it with the restart; its events, of which it keeps the last 256, still tell.
    """
    starts = {each.identity: each.started_at for each in replicas if each.restarts}
    moments = [start for start in starts.values() if start]
    if not moments:
        return replicas
    # On the engine's own clock: an end in the future would be waited for.
    until = int(max(moments).timestamp()) + 1
    filters = {"event": ["oom"], "container": list(starts)}
    with errors():
        told = list(client.events(since=0, until=until, filters=filters, decode=True))
    last = {event["Actor"]["ID"]: datetime.fromtimestamp(event["time"], UTC) for event in told}
    return [
        replace(
            each, reason="; ".join(filter(None, (each.reason, _out_of_memory(last[each.identity]))))
        )
        if each.running and each.identity in last
        else each
        for each in replicas
    ]


def _out_of_memory(moment: datetime) -> str:
    return f"it {OUT_OF_MEMORY} at {moment:%H:%M:%S} UTC and was restarted"


_STATUS = {
    "running": Status.RUNNING,
    "paused": Status.PAUSED,
    "restarting": Status.RESTARTING,
    "created": Status.CREATED,
}


def _why(state: Mapping[str, Any], running: bool, probe: str | None) -> str:
    if state.get("OOMKilled"):
        return f"it {OUT_OF_MEMORY}"
    if running and probe in ("unhealthy", "starting"):
        log = (state.get("Health") or {}).get("Log") or ()
        said = [entry["Output"].strip() for entry in log]
        return said[-1].splitlines()[-1][:200] if said and said[-1] else ""
    if running or state["Status"] == "created":
        return state.get("Error", "") or ""
    return state.get("Error") or f"exit code {state.get('ExitCode')}"


def published_address(inspected: Mapping[str, Any], port: int) -> str:
    """Return where the engine's machine publishes a container's port; empty if it does not."""
    return next(_published(inspected, f"{port}/tcp"), "")


def _published(inspected: Mapping[str, Any], port: str = "") -> Iterator[str]:
    ports = (inspected.get("NetworkSettings") or {}).get("Ports") or {}
    for name, bindings in ports.items():
        for binding in bindings or ():
            address = binding["HostIp"]
            if ":" in address or port not in ("", name):
                continue  # the same port again, for IPv6
            yield f"{'127.0.0.1' if address in ('', '0.0.0.0') else address}:{binding['HostPort']}"  # noqa: S104
