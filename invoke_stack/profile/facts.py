"""What the checks of `doctor` decide on, and what a check is.

Each fact that somebody has to be asked for is a Future that is done: `result()` returns it or
raises the `StackError` that explains why it is not known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from invoke_stack.errors import StackError
from invoke_stack.model import Disk, EngineInfo, Finding, Health, Replica, Schema

if TYPE_CHECKING:
    from invoke_stack.profile import Diagnosis, Profile


class Skipped(StackError):
    """A check does not apply, or another one reports what keeps it from being made."""


class NoAnswer(StackError):
    """A fact did not come in time."""


@dataclass(frozen=True)
class Settings:
    """The stack's variables, and what is wrong with how they were written down."""

    variables: Mapping[str, str]  # of the environment and of `.env`, those that can be used
    refused: tuple[StackError, ...] = ()
    file_exists: bool = True  # `.env`
    required: tuple[str, ...] = ()  # what the Compose file requires
    lacking: tuple[str, ...] = ()  # those of them that nothing sets
    unused: tuple[str, ...] = ()  # names in `.env` that nothing reads
    names: tuple[str, ...] = ()  # of `.env.example`


@dataclass(frozen=True)
class Facts:
    """Everything that is known about a stack that may be in trouble."""

    runtime: str  # its name
    in_containers: bool  # whether that runtime runs services in containers
    needs_docker: bool  # whether it matters that Docker works
    service: str  # the main one
    profile: Profile
    diagnosis: Diagnosis
    now: datetime
    late: Sequence[str]  # the names of what did not come in time
    settings: Settings
    context: Future[str]  # the engine's address or context
    engine: Future[EngineInfo]
    compose: Future[str]  # the version of the Compose plugin
    ports: Future[Mapping[str, Sequence[int]]]  # that each service needs on this machine
    holders: Future[Mapping[int, str]]  # who uses a port of these; empty text: not known
    will_write_env: Future[bool]  # whether `up` would write passwords; else why it would refuse
    expected_services: Future[Sequence[str]]  # the services that `up` would start
    replicas: Future[Sequence[Replica]]
    healths: Future[Sequence[Health]]  # at the running replicas of the main service
    schema: Future[Schema]
    output: Future[Mapping[str, Sequence[str]]]  # the last log lines of each service in trouble
    stale: Future[str]  # why the main service is not what `up` would start
    commands: Future[Mapping[str, str]]  # each replica's main command line
    disk: Future[Disk]  # that of the checkout
    disks: Future[Sequence[Disk]]  # further ones, that the services are on
    more: Mapping[str, Future[Any]] = field(default_factory=dict)  # by name, of the profile

    def replicas_of(self, service: str) -> list[Replica]:
        """Return those of one service."""
        return [each for each in self.replicas.result() if each.service == service]

    def output_of(self, service: str) -> Sequence[str]:
        """Return the last log lines of a service in trouble; empty if they are not known."""
        return () if self.output.exception() else self.output.result().get(service, ())


@dataclass(frozen=True)
class Check:
    """One kind of cause that `doctor` looks for."""

    name: str
    find: Callable[[Facts], Iterable[Finding]]
