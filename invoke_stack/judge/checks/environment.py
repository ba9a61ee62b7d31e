"""Checks of the environment: the engine, Compose, ports, disks and clocks."""

from __future__ import annotations

from collections.abc import Iterator

from invoke_stack.errors import StackError
from invoke_stack.model import Finding
from invoke_stack.profile.facts import Facts, NoAnswer, Skipped

ENGINE = (20, 10)  # oldest version known to work
COMPOSE = (2, 5)  # oldest version that passes secrets to a build
MIN_FREE = 1 << 30  # bytes; a disk with less, and less than MIN_FREE_PART, is nearly full
MIN_FREE_PART = 0.05
MAX_SKEW = 2.0  # seconds
_BAD_VARIABLES = "variables are missing or invalid"
NO_DOCKER = "the local runtime needs no Docker"


def _require_docker(facts: Facts) -> None:
    if not facts.needs_docker:
        raise Skipped(NO_DOCKER)


def _own_error(error: BaseException | None) -> StackError | None:
    """Return the error of a fact; None for a timeout, which `timeouts` reports."""
    return error if isinstance(error, StackError) and not isinstance(error, NoAnswer) else None


def context(facts: Facts) -> Iterator[Finding]:
    """Find a Docker context that does not exist."""
    _require_docker(facts)
    if error := _own_error(facts.context.exception()):
        yield Finding(error.message, (), error.hint)


def engine(facts: Facts) -> Iterator[Finding]:
    """Find an engine that does not answer or is too old."""
    _require_docker(facts)
    context = facts.context.result()
    if error := _own_error(facts.engine.exception()):
        yield Finding(error.message, (f"Docker host or context: {context}",), error.hint)
    elif _version(facts.engine.result().version) < ENGINE:
        what = f"Docker Engine {facts.engine.result().version} is too old"
        yield Finding(what, ("20.10 is the oldest version known to work",), "upgrade Docker Engine")


def compose(facts: Facts) -> Iterator[Finding]:
    """Find a Compose plugin that is missing or too old."""
    _require_docker(facts)
    if error := _own_error(facts.compose.exception()):
        yield Finding(error.message, (), error.hint)
    elif _version(facts.compose.result()) < COMPOSE:
        yield Finding(
            f"Docker Compose {facts.compose.result()} is too old",
            ("2.5 is the oldest version that passes secrets to a build",),
            "sudo apt-get install docker-compose-plugin, or update Docker Desktop",
        )


def _version(text: str) -> tuple[int, ...]:
    parts = text.lstrip("v").split(".")
    return tuple(int(part) for part in parts[:2] if part.isdigit())


def project(facts: Facts) -> Iterator[Finding]:
    """Find a Compose file that Compose rejects."""
    _require_docker(facts)
    facts.compose.result()
    if facts.variables.missing or facts.variables.errors:
        raise Skipped(_BAD_VARIABLES)  # reported by `env`
    if error := _own_error(facts.ports.exception()):
        yield Finding("the Compose file is invalid", (error.message,), "docker compose config")


def ports(facts: Facts) -> Iterator[Finding]:
    """Find ports of the stack that are already in use."""
    if not facts.in_containers:
        raise Skipped("the local runtime picks free ports")
    if facts.variables.missing or facts.variables.errors:
        raise Skipped(_BAD_VARIABLES)
    ports_by_service, holders = facts.ports.result(), facts.holders.result()
    services: dict[int, str] = {}
    for service, service_ports in ports_by_service.items():
        for port in service_ports:
            if port in services:
                what = f"{services[port]} and {service} both use port {port}"
                yield Finding(what, (), f"{_other_port_hint(facts, service, port)}; then: inv up")
            elif port in holders:
                holder = holders[port] or "a process that this user cannot see"
                what = f"port {port} of {service} is already in use"
                hint = f"stop it, or {_other_port_hint(facts, service, port)}; then: inv up"
                yield Finding(what, (f"used by {holder}",), hint)
            services[port] = service


def _other_port_hint(facts: Facts, service: str, port: int) -> str:
    variable = facts.profile.port_variables.get(service)
    return f"set {variable}={port + 1} in .env" if variable else "publish another port"


def disks(facts: Facts) -> Iterator[Finding]:
    """Find disks that are nearly full."""
    others = () if facts.disks.exception() else facts.disks.result()
    for disk in (facts.disk.result(), *others):
        if disk.free < MIN_FREE and disk.free < disk.total * MIN_FREE_PART:
            what = f"the disk is nearly full: {disk.name}"
            evidence = (f"{disk.free >> 20} MiB of {disk.total >> 20} MiB are free",)
            yield Finding(what, evidence, _disk_hint(facts))
        elif disk.free_files < MIN_FREE_PART / 5:
            evidence = ("it is almost out of inodes",)
            yield Finding(f"the disk is nearly full: {disk.name}", evidence, _disk_hint(facts))


def _disk_hint(facts: Facts) -> str:
    if not facts.in_containers:
        return "see what uses the space: du -sh .local/*"
    return "see what uses the space: docker system df; then: docker image prune"


def clock(facts: Facts) -> Iterator[Finding]:
    """Find an engine whose clock differs: log times, restarts and certificates depend on it."""
    _require_docker(facts)
    info = facts.engine.result()
    if abs(info.clock_ahead) > MAX_SKEW + info.clock_error:
        direction = "ahead of" if info.clock_ahead > 0 else "behind"
        yield Finding(
            f"the engine's clock is {abs(info.clock_ahead):.0f} s {direction} this machine's",
            ("recent log lines and starts may appear to be in the future",),
            "sudo timedatectl set-ntp true on both, or restart Docker Desktop",
        )
