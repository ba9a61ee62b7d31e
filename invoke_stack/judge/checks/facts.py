"""What the checks look at: plain data, each piece either known or with a reason why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from invoke_stack.errors import OpsError
from invoke_stack.model import About, Disk, Health, Replica, Schema

T = TypeVar("T")


@dataclass(frozen=True)
class Unknown:
    """A piece that could not be had."""

    why: str
    hint: str = ""
    late: bool = False  # it did not come in time


NO_DOCKER = "the local runtime needs no Docker"


class NotKnown(Exception):
    """A check needs what is not known."""

    def __init__(self, why: str | Unknown) -> None:
        self.unknown = Unknown(why) if isinstance(why, str) else why
        super().__init__(self.unknown.why)


def known(value: T | Unknown) -> T:
    """The value, or `NotKnown` with the reason why there is none."""
    if isinstance(value, Unknown):
        raise NotKnown(value)
    return value


@dataclass(frozen=True)
class Script:
    """`backend/entrypoint.sh` in the checkout."""

    has_crlf: bool
    is_executable: bool


@dataclass(frozen=True)
class Settings:
    """The stack's variables, and what is wrong with how they were written down."""

    variables: Mapping[str, str]  # of the environment and of `.env`, those that can be used
    refused: tuple[OpsError, ...] = ()
    file_exists: bool = True  # `.env`
    required: tuple[str, ...] = ()  # what the Compose file requires
    lacking: tuple[str, ...] = ()  # those of them that nothing sets
    unused: tuple[str, ...] = ()  # names in `.env` that nothing reads
    names: tuple[str, ...] = ()  # of `.env.example`


@dataclass(frozen=True)
class Failing:
    """Migrations that failed at the last boot, and go on failing in the background."""

    cause: str
    again: datetime | None  # when they are tried next, where that is known


@dataclass(frozen=True)
class Facts:
    """All there is to know about a stack that may be sick."""

    runtime: str  # its name
    service: str  # the one that health and restart-backend speak of
    own: bool  # whether it is deal-scout itself
    now: datetime
    late: Sequence[str]  # the names of what did not come in time
    settings: Settings
    docker: bool  # whether Docker matters here
    context: str | Unknown  # the engine's address or context
    engine: About | Unknown
    compose: str | Unknown  # the version of the Compose plugin
    ports: Mapping[str, Sequence[int]] | Unknown  # that each service wants of this machine
    holders: Mapping[int, str] | Unknown  # who has a port of these; empty: somebody unknown
    writes_env: bool | Unknown  # whether `up` would write passwords; else why it would refuse
    wanted: Sequence[str] | Unknown  # the services that `up` would have run
    replicas: Sequence[Replica] | Unknown
    looks: Sequence[Health] | Unknown  # at the running replicas of `service`
    schema: Schema | Unknown
    failing: Failing | Unknown | None  # None: the migrations do not fail
    said: Mapping[str, Sequence[str]] | Unknown  # the last lines of each service in trouble
    stale: str | Unknown  # why `service` is not what `up` would start
    commands: Mapping[str, str] | Unknown  # each replica's main command line
    missing: Sequence[str] | Unknown  # the variables whose program does not exist
    disks: Sequence[Disk] | Unknown
    script: Script | Unknown
    revisions: Mapping[str, str] | Unknown  # the text of each file in alembic/versions

    def replicas_of(self, service: str) -> list[Replica]:
        """Those of one service; raises `NotKnown`."""
        return [each for each in known(self.replicas) if each.service == service]

    def last_words(self, service: str) -> Sequence[str]:
        """What a service in trouble has said; empty when that is not known."""
        return () if isinstance(self.said, Unknown) else self.said.get(service, ())


def built(facts: Facts, remedy: str) -> str:
    """A remedy with `inv up --build`, as it is where nothing is built."""
    return remedy.replace(" --build", "") if facts.runtime == "local" else remedy
