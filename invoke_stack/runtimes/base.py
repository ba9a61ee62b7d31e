"""What every place that can run the stack does for us."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from invoke_stack.model import Answer, LogLine, Presence, Replica

Say = Callable[[str], None]
"""Shows one line of progress to the user."""


@dataclass(frozen=True)
class Capabilities:
    """What only some runtimes do."""

    containers: bool
    """Services run in containers on a Docker engine, as the Compose file and the stack's variables
    say; else straight from the checkout, on free ports of this machine."""


class Runtime(Protocol):
    """One place where the stack runs. Every method raises `OutOfReach` when the place is away."""

    name: str
    capabilities: Capabilities

    def presence(self) -> Presence:
        """Return how much of this project's stack exists here.

        Raises `Unavailable` if the place does not answer within seconds.
        """
        ...

    def is_here(self) -> bool:
        """Return True if the ports that the stack publishes are certainly ports of this machine."""
        ...

    def services(self) -> tuple[str, ...]:
        """The names of the services that the stack consists of, in the order they start."""
        ...

    def wanted(self) -> tuple[str, ...]:
        """The names of the services that `up` would have run, whether they do or not."""
        ...

    def replicas(self, service: str | None = None, *, probe: bool = True) -> list[Replica]:
        """The replicas of one service or of all, with their health if `probe`.

        Raises `OutOfReach`, for an unknown service naming those that there are.
        """
        ...

    def get(self, replica: Replica, path: str, timeout: float) -> Answer:
        """GET a path of a replica's HTTP port within `timeout` seconds; never raises.

        It is asked where the replica runs; what cannot be asked there has `asked` false.
        """
        ...

    def logs(
        self,
        services: Sequence[str],
        *,
        tail: int | None,
        since: str | None,
        follow: bool,
        say: Say,
    ) -> Iterator[LogLine | None]:
        """The lines of these services in order of time.

        `tail` counts over all of them together; None means all lines. `since` is a time as in
        `LogLine.time`. With `follow` the lines go on for ever, across restarts, and None is
        yielded at least every 0.1 s while there is nothing new, the first time when the present
        has been reached; so the caller never blocks for long. `say` is told when the place goes
        away meanwhile, and when it is back.
        """
        ...

    def restart(self, service: str) -> None:
        """Stop all replicas of a service and start them again.

        Returns once they were started or, where they are replaced one after the other, once that
        has begun.
        """
        ...

    def undone(self, service: str) -> str:
        """Why the runtime has taken the last change of a service back; empty if it has not."""
        ...

    def scale(self, service: str, count: int, *, dry_run: bool) -> None:
        """Have a service run with this many replicas, unless `dry_run`.

        Raises `BadInput` where that cannot be.
        """
        ...

    def main_command(self, replica: Replica) -> str:
        """The command line of a replica's main process, below the init; empty if none is seen."""
        ...

    def ports(self) -> Mapping[str, tuple[int, ...]]:
        """The ports of this machine that `up` gives to each service; those chosen anew left out."""
        ...

    def staleness(self, service: str) -> str:
        """Why what runs is not what `up` would start now, in a few words; empty if it is."""
        ...

    def writes_env(self) -> bool:
        """Return True if `up` would write new passwords into `.env`.

        Raises `OutOfReach` if data exists that was made with passwords which `.env` lacks.
        """
        ...

    def orphans(self) -> tuple[str, ...]:
        """Return the names of what runs under the project's name and is in no Compose file."""
        ...

    def data(self) -> tuple[str, ...]:
        """Return the names of what `down` deletes with `volumes`.

        Raises `OutOfReach` if it may be another checkout's.
        """
        ...

    def up(self, *, build: bool, remove_orphans: bool, say: Say) -> None:
        """Start what does not run and recreate what changed; `commands.up` waits until it is ready.

        Orphans are listed, and stay unless `remove_orphans`.
        """
        ...

    def down(self, *, volumes: bool, say: Say) -> None:
        """Stop the stack, without its orphans; its data stays unless `volumes`."""
        ...

    def execute(self, service: str, words: Sequence[str], timeout: float) -> str:
        """Run a command beside a service, with its environment; returns what it printed."""
        ...

    def pipe(
        self,
        service: str,
        words: Sequence[str],
        *,
        source: BinaryIO | None = None,
        sink: BinaryIO | None = None,
    ) -> None:
        """Run a command beside a service however long it takes, with files as input and output.

        Without `sink`, what it prints goes to the user's stderr. Raises `OutOfReach` with the last
        line of its complaint when it fails.
        """
        ...
