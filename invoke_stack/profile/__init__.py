"""What the toolkit knows about a project beyond its Compose file and settings: one Profile.

A project without one is judged by its containers' own health checks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from invoke_stack.model import Answer, Health, LogLine
from invoke_stack.profile.phases import NO_PHASES, PhaseMarkers
from invoke_stack.profile.readiness import Assessment, Readiness, assess_by_status

if TYPE_CHECKING:
    from invoke_stack.profile.facts import Check


class MainService(Protocol):
    """The main service of a stack, as seen by a profile."""

    root: Path  # the checkout
    variables: Mapping[str, str]  # the stack's, as set in the environment or in .env

    def answers(self, path: str) -> Sequence[Mapping[str, Any]]:
        """Return the JSON body of each running replica's answer; empty if there is none.

        Raises `StackError` if no replica is running.
        """
        ...

    def execute(self, *command: str) -> str:
        """Run a command beside the service and return its output.

        Raises `CommandFailed` or `OutOfReach`.
        """
        ...

    def last_lines(self) -> Sequence[LogLine]:
        """Return the last lines of its log, oldest first. Raises `OutOfReach`."""
        ...


@dataclass(frozen=True)
class Fact:
    """A fact that a project's own checks need."""

    title: str  # for "waiting for …"
    find: Callable[[MainService], object]  # may raise `StackError`
    asks_service: bool = True  # False: it only reads the checkout


def _no_causes(main: MainService, healths: Sequence[Health]) -> Sequence[str]:
    return ()


@dataclass(frozen=True)
class Diagnosis:
    """What `doctor` knows about a project."""

    checks: Sequence[Check]  # all checks, in order
    facts: Mapping[str, Fact] = field(default_factory=dict)  # by name, for the project's own checks
    causes: Callable[[MainService, Sequence[Health]], Sequence[str]] = _no_causes
    """Returns log lines that explain the main service's health and may have been rotated away."""
    remedies: Mapping[str, str] = field(default_factory=dict)  # by a substring of the cause


@dataclass(frozen=True)
class SchemaAccess:
    """How to query and upgrade the schema of the project's database.

    The commands run beside the main service.
    """

    path: str  # endpoint of the main service that answers with current, head and pending
    report: tuple[str, ...]  # command that prints the same keys, and `known`
    upgrade: tuple[str, ...]  # command that applies the pending revisions
    folder: str  # of the revisions; an error of `report` that names it is about a file there


@dataclass(frozen=True)
class Database:
    """The PostgreSQL database that `backup` and `restore` work on."""

    service: str
    name: str  # prefix of the names of backups
    url: str  # the variable that may point the project at a server outside the stack


@dataclass(frozen=True)
class Profile:
    """What the toolkit knows about a project. Everything is optional."""

    service: str = "backend"  # default of stack.service
    ready: str = ""  # default of stack.ready
    assess: Callable[[Answer], Assessment] = assess_by_status  # for the answer of that URL
    phases: PhaseMarkers = NO_PHASES  # default of stack.phases
    advice: Mapping[str, str] = field(default_factory=dict)  # by phase: what to do if it fails
    fatal_reason: str = ""  # part of a health check's reason that waiting will not change
    services: tuple[str, ...] = ()  # those that must always run; others may be one-shot
    dependencies: Mapping[str, str] = field(default_factory=dict)
    """By service: the key of the health body that is false while that service is unavailable."""
    page: str = ""  # the service that users open in a browser
    port_variables: Mapping[str, str] = field(default_factory=dict)  # by service: sets its port
    variables: Mapping[str, Callable[[str], str]] = field(default_factory=dict)
    """Checks of the stack's variables, by name: return a hint for an invalid value, else empty."""
    passwords: tuple[str, ...] = ()  # variables of .env.example that the first `up` generates
    runs_locally: bool = False  # True if the `local` runtime can start its programs
    schema: SchemaAccess | None = None
    database: Database | None = None
    diagnosis: Callable[[], Diagnosis] | None = None
    """Returns the project's part of `doctor`. A function, so that only `doctor` imports it."""

    @property
    def readiness(self) -> Readiness:
        """The default readiness URL of the main service, whatever `stack.ready` says."""
        return Readiness(self.ready, self.assess)


DEFAULT_PROFILE = Profile()
"""The profile of an unknown project."""
