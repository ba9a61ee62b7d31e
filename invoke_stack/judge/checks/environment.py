"""Checks of what the stack stands on: the engine, Compose, ports, disks and clocks."""

from __future__ import annotations

from collections.abc import Iterator

from invoke_stack.errors import StackError
from invoke_stack.model import Finding
from invoke_stack.profile.facts import Facts, NoAnswer, Skipped

ENGINE = (20, 10)  # the oldest that is known to work
COMPOSE = (2, 5)  # the oldest that hands secrets to a build
FREE = 1 << 30  # bytes; with less, and less than FREE_PART, a disk is called full
FREE_PART = 0.05
SKEW = 2.0  # seconds
_UNSET = "variables are not set"
NO_DOCKER = "the local runtime needs no Docker"


def _require_docker(facts: Facts) -> None:
    if not facts.needs_docker:
        raise Skipped(NO_DOCKER)


def _reported(error: BaseException | None) -> StackError | None:
    """Return the error of a fact if it is a finding: what came too late is another check's."""
    return error if isinstance(error, StackError) and not isinstance(error, NoAnswer) else None


def context(facts: Facts) -> Iterator[Finding]:
    """The Docker context that is chosen exists."""
    _require_docker(facts)
    if error := _reported(facts.context.exception()):
        yield Finding(error.message, (), error.hint)


def engine(facts: Facts) -> Iterator[Finding]:
    """Docker Engine answers, and is not too old."""
    _require_docker(facts)
    context = facts.context.result()
    if error := _reported(facts.engine.exception()):
        yield Finding(error.message, (f"asked: {context}",), error.hint)
    elif _version(facts.engine.result().version) < ENGINE:
        what = f"Docker Engine {facts.engine.result().version} is too old"
        yield Finding(what, ("20.10 is the oldest that is known to work",), "install a newer one")


def compose(facts: Facts) -> Iterator[Finding]:
    """Docker has the Compose plugin, and it is not too old."""
    _require_docker(facts)
    if error := _reported(facts.compose.exception()):
        yield Finding(error.message, (), error.hint)
    elif _version(facts.compose.result()) < COMPOSE:
        yield Finding(
            f"Docker Compose {facts.compose.result()} is too old",
            ("2.5 is the oldest that hands secrets to a build",),
            "sudo apt-get install docker-compose-plugin, or update Docker Desktop",
        )


def _version(text: str) -> tuple[int, ...]:
    parts = text.lstrip("v").split(".")
    return tuple(int(part) for part in parts[:2] if part.isdigit())


def project(facts: Facts) -> Iterator[Finding]:
    """Compose accepts the Compose file."""
    _require_docker(facts)
    facts.compose.result()
    if facts.variables.missing or facts.variables.errors:
        raise Skipped(_UNSET)  # which is another check's
    if error := _reported(facts.ports.exception()):
        yield Finding("the Compose file is refused", (error.message,), "docker compose config")


def ports(facts: Facts) -> Iterator[Finding]:
    """Nobody else has the ports that the stack needs."""
    if not facts.in_containers:
        raise Skipped("its ports move by themselves")
    if facts.variables.missing or facts.variables.errors:
        raise Skipped(_UNSET)
    wanted, holders = facts.ports.result(), facts.holders.result()
    users: dict[int, str] = {}
    for service, listed in wanted.items():
        for port in listed:
            if port in users:
                what = f"{users[port]} and {service} are both given port {port}"
                yield Finding(what, (), _another(facts, service, port))
            elif port in holders:
                holder = holders[port] or "by a process that this user may not see"
                what = f"port {port}, which {service} needs, is taken"
                yield Finding(what, (f"it is held: {holder}",), _another(facts, service, port))
            users[port] = service


def _another(facts: Facts, service: str, port: int) -> str:
    variable = facts.profile.port_variables.get(service)
    other = f"set {variable}={port + 1} in .env" if variable else "publish another"
    return f"end that, or {other}; then: inv up"


def disks(facts: Facts) -> Iterator[Finding]:
    """There is room on the disks."""
    others = () if facts.disks.exception() else facts.disks.result()
    for disk in (facts.disk.result(), *others):
        if disk.free < FREE and disk.free < disk.total * FREE_PART:
            what = f"the disk is nearly full: {disk.name}"
            evidence = (f"{disk.free >> 20} MiB of {disk.total >> 20} MiB are free",)
            yield Finding(what, evidence, _room(facts))
        elif disk.free_files < FREE_PART / 5:
            evidence = ("it can hold hardly any more files (inodes)",)
            yield Finding(f"the disk is nearly full: {disk.name}", evidence, _room(facts))


def _room(facts: Facts) -> str:
    if not facts.in_containers:
        return "see what takes it: du -sh .local/*"
    return "see what takes it: docker system df; then: docker image prune"


def clock(facts: Facts) -> Iterator[Finding]:
    """The engine's clock agrees with ours: times in logs, restarts and certificates depend on it."""
    _require_docker(facts)
    about = facts.engine.result()
    if abs(about.clock_ahead) > SKEW + about.clock_error:
        way = "ahead of" if about.clock_ahead > 0 else "behind"
        yield Finding(
            f"the engine's clock is {abs(about.clock_ahead):.0f} s {way} this machine's",
            ("what is younger than that may seem to be in the future",),
            "sudo timedatectl set-ntp true on both, or restart Docker Desktop",
        )
