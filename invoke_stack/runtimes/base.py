"""What every place that can run the stack does for us."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from invoke_stack.model import Answer, LogLine, Presence, Replica

Say = Callable[[str], None]
"""Shows one line of progress to the user."""


class Scale(Protocol):
    """Has a service run with this many replicas, unless `dry_run`. Raises `BadInput`."""

    def __call__(self, service: str, count: int, *, dry_run: bool) -> None: ...


@dataclass(frozen=True)
class Capabilities:
    """What only some runtimes do; None for what this one does not."""

    containers: bool
    """Services run in containers on a Docker engine, as the Compose file and the stack's variables
    say; else straight from the checkout, on free ports of this machine."""
    scale: Scale | None = None
    undone: Callable[[str], str] | None = None
    """Returns why the runtime has taken the last change of a service back; empty if it has not."""


class Runtime(Protocol):
    """One place where the stack runs. Every method raises `OutOfReach` when the place is away."""

    name: str

    @property
    def capabilities(self) -> Capabilities: ...

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

    def expected_services(self) -> tuple[str, ...]:
        """The names of the services that `up` would have run, whether they do or not."""
        ...

    def replicas(self, service: str | None = None, *, probe: bool = True) -> list[Replica]:
        """The replicas of one service or of all, with their health if `probe`.

        Raises `OutOfReach`, for an unknown service naming those that there are.
        """
        ...

    def get(self, replica: Replica, path: str, timeout: float) -> Answer:
        """GET a path of a replica's HTTP port within `timeout` seconds; never raises.

        It is asked where the replica runs; what cannot be asked there has `asked` false. An engine
        that has to be asked first may take a few seconds more.
        """
        ...

    def history(
        self, services: Sequence[str], *, tail: int | None, since: str | None, say: Say
    ) -> Iterator[LogLine]:
        """Return the lines of these services up to now, in order of time.

        `tail` counts over all of them together; None means all lines. `since` is a time as in
        `LogLine.time`. `say` gets what could not be read.
        """
        ...

    def follow(
        self, services: Sequence[str], *, tail: int | None, since: str | None, say: Say
    ) -> Iterator[LogLine | None]:
        """Return the lines as `history` does, and then new ones for ever, across restarts.

        None is yielded at least every 0.1 s while there is no new line, the first time when all
        earlier ones have been; so the caller is never blocked for long. `say` also gets when the
        place goes away meanwhile, and when it is back.
        """
        ...

    def restart(self, service: str) -> None:
        """Stop all replicas of a service and start them again.

        Returns once they were started or, where they are replaced one after the other, once that
        has begun.
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

    def will_write_env(self) -> bool:
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
