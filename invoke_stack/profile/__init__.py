"""What a project is, beyond its Compose file and its settings: one Profile.

A project without one is judged by its containers' own health checks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from invoke_stack.model import Answer, Health, LogLine
from invoke_stack.profile.phases import NO_PHASES, PhaseMarkers
from invoke_stack.profile.readiness import Readiness, Reading, by_status

if TYPE_CHECKING:
    from invoke_stack.profile.facts import Check


class MainService(Protocol):
    """The main service of a stack, for what a profile wants to know of it."""

    root: Path  # the checkout
    variables: Mapping[str, str]  # the stack's, as set in the environment or in .env

    def answers(self, path: str) -> Sequence[Mapping[str, Any]]:
        """Return the JSON body that each running replica answers; empty if it has none.

        Raises `StackError` if none is running.
        """
        ...

    def execute(self, *words: str) -> str:
        """Run a command beside it and return its output. Raises `CommandFailed`, `OutOfReach`."""
        ...

    def last_lines(self) -> Sequence[LogLine]:
        """Return the last lines of its log, oldest first. Raises `OutOfReach`."""
        ...


@dataclass(frozen=True)
class Fact:
    """What a project's own checks need to know beyond the general facts."""

    title: str  # for "waiting for …"
    find: Callable[[MainService], object]  # may raise `StackError`
    asks_service: bool = True  # False: it reads the checkout alone


def _no_causes(main: MainService, looks: Sequence[Health]) -> Sequence[str]:
    return ()


@dataclass(frozen=True)
class Diagnosis:
    """What `doctor` knows about a project."""

    checks: Sequence[Check]  # all of them, in their order
    facts: Mapping[str, Fact] = field(default_factory=dict)  # by name, for the project's own checks
    causes: Callable[[MainService, Sequence[Health]], Sequence[str]] = _no_causes
    """Log lines that explain the health of the main service and may have been rotated away."""
    remedies: Mapping[str, str] = field(default_factory=dict)  # by a part of a cause


@dataclass(frozen=True)
class SchemaAccess:
    """How to ask for and upgrade the schema of the project's database."""

    path: str  # of the main service; answers with the keys current, head and pending
    report: tuple[str, ...]  # command beside the main service; prints the same, and `known`
    upgrade: tuple[str, ...]  # command beside the main service that applies what is pending
    folder: str  # of the revisions; an error of `report` that names it is about a file there


@dataclass(frozen=True)
class Database:
    """The PostgreSQL database that `backup` and `restore` work on."""

    service: str
    name: str  # how the names of backups begin
    url: str  # the variable that may point the project at a server outside the stack


@dataclass(frozen=True)
class Profile:
    """What the toolkit knows about a project. Everything is optional."""

    service: str = "backend"  # default of stack.service
    ready: str = ""  # default of stack.ready
    read: Callable[[Answer], Reading] = by_status  # what an answer of that address means
    phases: PhaseMarkers = NO_PHASES  # default of stack.phases
    advice: Mapping[str, str] = field(default_factory=dict)  # by phase: what to do if it fails
    hopeless: str = ""  # a reason of the main service's health check that waiting does not change
    services: tuple[str, ...] = ()  # those that must always run; others may be jobs that end
    dependencies: Mapping[str, str] = field(default_factory=dict)
    """By service: the key of the health body that is false while the main service lacks it."""
    page: str = ""  # the service that users open in a browser
    port_variables: Mapping[str, str] = field(default_factory=dict)  # by service, of its port
    variables: Mapping[str, Callable[[str], str]] = field(default_factory=dict)
    """Checks of the stack's variables by name: each returns how to write a value that it refuses."""
    passwords: tuple[str, ...] = ()  # variables of .env.example that the first `up` fills in
    runs_locally: bool = False  # the runtime `local` knows how to start its programs
    schema: SchemaAccess | None = None
    database: Database | None = None
    diagnosis: Callable[[], Diagnosis] | None = None
    """Returns what `doctor` does beyond the general checks; a function, so that it is imported only
    when `doctor` runs."""

    @property
    def readiness(self) -> Readiness:
        """Where the main service says that it is ready, whatever `stack.ready` says."""
        return Readiness(self.ready, self.read)


DEFAULT_PROFILE = Profile()
"""The profile of a project of which nothing is known."""
