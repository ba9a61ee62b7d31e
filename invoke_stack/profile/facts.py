"""The facts that the checks of `doctor` decide on, and the type of a check.

Each fact that has to be asked for is a completed Future: `result()` returns the fact or raises the
`StackError` that says why it is unknown.
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
    """A check does not apply, or another check reports what prevents it."""


class NoAnswer(StackError):
    """A fact was not available before the timeout."""


@dataclass(frozen=True)
class StackVariables:
    """The stack's variables, and the problems of `.env`."""

    values: Mapping[str, str]  # the valid ones, from the environment and `.env`
    errors: tuple[StackError, ...] = ()  # one for each invalid value or line
    file_exists: bool = True  # `.env`
    required: tuple[str, ...] = ()  # names that the Compose file requires
    missing: tuple[str, ...] = ()  # required names that are not set
    unknown: tuple[str, ...] = ()  # names in `.env` that `.env.example` does not have
    example_names: tuple[str, ...] = ()  # names in `.env.example`


@dataclass(frozen=True)
class Facts:
    """Everything that `doctor` knows about a stack."""

    runtime: str  # its name
    in_containers: bool  # True if the runtime runs services in containers
    needs_docker: bool  # True if the stack is on Docker, or would be if Docker answered
    service: str  # the main service
    profile: Profile
    diagnosis: Diagnosis
    now: datetime
    timed_out: Sequence[str]  # titles of the facts that were not available in time
    variables: StackVariables
    context: Future[str]  # Docker's context, or the engine's address
    engine: Future[EngineInfo]
    compose: Future[str]  # version of the Compose plugin
    ports: Future[Mapping[str, Sequence[int]]]  # host ports by service
    holders: Future[Mapping[int, str]]  # what uses a port of these; empty text: unknown
    will_write_env: Future[bool]  # True if `up` would write passwords to `.env`
    expected_services: Future[Sequence[str]]  # the services that `up` would start
    replicas: Future[Sequence[Replica]]
    healths: Future[Sequence[Health]]  # of the running replicas of the main service
    schema: Future[Schema]
    output: Future[Mapping[str, Sequence[str]]]  # by unhealthy or restarted service: last log lines
    stale: Future[str]  # why the main service is out of date; empty if it is not
    commands: Future[Mapping[str, str]]  # command line of the main process, by replica
    disk: Future[Disk]  # the disk of the checkout
    disks: Future[Sequence[Disk]]  # the other disks that the services use
    extra: Mapping[str, Future[Any]] = field(default_factory=dict)  # the profile's own, by name

    def replicas_of(self, service: str) -> list[Replica]:
        """Return the replicas of one service."""
        return [replica for replica in self.replicas.result() if replica.service == service]

    def output_of(self, service: str) -> Sequence[str]:
        """Return the last log lines of an unhealthy or restarted service; empty if unknown."""
        return () if self.output.exception() else self.output.result().get(service, ())


@dataclass(frozen=True)
class Check:
    """One check of `doctor`."""

    name: str
    find: Callable[[Facts], Iterable[Finding]]
