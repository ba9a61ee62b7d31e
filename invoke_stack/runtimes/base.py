"""The protocol that every runtime implements."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from invoke_stack.model import Answer, LogLine, Presence, Replica

Say = Callable[[str], None]
"""Shows one line of progress to the user."""


class Scale(Protocol):
    """Sets the number of replicas of a service."""

    def __call__(self, service: str, count: int, *, dry_run: bool) -> None:
        """Run `count` replicas of a service; only check the request if `dry_run`.

        Raises `BadInput` if the service cannot have that many.
        """
        ...


@dataclass(frozen=True)
class Capabilities:
    """What only some runtimes support; None for what this one does not."""

    containers: bool
    """True if services run in containers on a Docker engine, as the Compose files and the stack's
    variables define them; False if they run from the checkout, on free ports of this machine."""
    scale: Scale | None = None
    rollback_reason: Callable[[str], str] | None = None
    """Returns why the runtime rolled back the last change of a service; empty if it did not."""


class Runtime(Protocol):
    """One way to run the stack. Every method raises `OutOfReach` if the runtime is unavailable."""

    name: str

    @property
    def capabilities(self) -> Capabilities:
        """The optional features of this runtime."""
        ...

    def presence(self) -> Presence:
        """Return how much of this project's stack exists in this runtime.

        Raises `Unavailable` if the runtime does not respond within seconds.
        """
        ...

    def is_here(self) -> bool:
        """Return True if the stack's published ports are known to be ports of this machine."""
        ...

    def services(self) -> tuple[str, ...]:
        """Return the names of the stack's services, in the order they start."""
        ...

    def expected_services(self) -> tuple[str, ...]:
        """Return the names of the services that `up` would start, running or not."""
        ...

    def replicas(self, service: str | None = None, *, probe: bool = True) -> list[Replica]:
        """Return the replicas of one service or of all, with their health if `probe`.

        Raises `OutOfReach` for an unknown service, listing the existing ones.
        """
        ...

    def get(self, replica: Replica, path: str, timeout: float) -> Answer:
        """Send GET to a path of a replica's HTTP port within `timeout` seconds; never raises.

        The request is sent where the replica runs. If that says nothing about the endpoint,
        `was_sent` is False. Finding the replica through an engine may take a few more seconds.
        """
        ...

    def history(
        self, services: Sequence[str], *, tail: int | None, since: str | None, say: Say
    ) -> Iterator[LogLine]:
        """Yield the log lines of these services up to now, in order of time.

        `tail` limits the total over all services; None means all lines. `since` has the format of
        `LogLine.time`. `say` receives notices about logs that cannot be read.
        """
        ...

    def follow(
        self, services: Sequence[str], *, tail: int | None, since: str | None, say: Say
    ) -> Iterator[LogLine | None]:
        """Yield log lines as `history` does, then new ones forever, across restarts.

        While there is no new line, yields None at least every 0.1 s, so that the caller is never
        blocked for long; the first None comes after all earlier lines. `say` also receives a
        notice when the runtime becomes unavailable, and when it is back.
        """
        ...

    def restart(self, service: str) -> None:
        """Stop all replicas of a service and start them again.

        Returns once they have been started or, if they are replaced one after the other, once the
        replacement has begun.
        """
        ...

    def main_command(self, replica: Replica) -> str:
        """Return the command line of a replica's main process, below the init; empty if unknown."""
        ...

    def ports(self) -> Mapping[str, tuple[int, ...]]:
        """Return the fixed ports of this machine that `up` needs, by service."""
        ...

    def staleness(self, service: str) -> str:
        """Return why a running service differs from what `up` would start; empty if it does not."""
        ...

    def will_write_env(self) -> bool:
        """Return True if `up` would write new passwords into `.env`.

        Raises `OutOfReach` if there is data whose passwords are missing from `.env`.
        """
        ...

    def orphans(self) -> tuple[str, ...]:
        """Return the names of the project's containers or services that are in no Compose file."""
        ...

    def data(self) -> tuple[str, ...]:
        """Return the names of what `down` deletes with `volumes`.

        Raises `OutOfReach` if it may belong to another checkout.
        """
        ...

    def up(self, *, build: bool, remove_orphans: bool, say: Say) -> None:
        """Start what does not run and recreate what changed, without waiting for readiness.

        Orphans are reported, and kept unless `remove_orphans`.
        """
        ...

    def down(self, *, volumes: bool, say: Say) -> None:
        """Stop the stack except for its orphans, and delete its data if `volumes`."""
        ...

    def execute(self, service: str, command: Sequence[str], timeout: float) -> str:
        """Run a command in the environment of a service and return its output.

        Raises `CommandFailed` if it fails, and `OutOfReach` after `timeout` seconds.
        """
        ...

    def pipe(
        self,
        service: str,
        command: Sequence[str],
        *,
        source: BinaryIO | None = None,
        sink: BinaryIO | None = None,
    ) -> None:
        """Run a command in the environment of a service, with files as its input and output.

        There is no timeout. Without `sink`, output goes to the user's stderr. Raises
        `CommandFailed` with the last line of the command's error output.
        """
        ...
