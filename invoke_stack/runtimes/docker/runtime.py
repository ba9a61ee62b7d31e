"""The base class of the runtimes on Docker Engine."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO

from invoke_stack.config import Config
from invoke_stack.errors import StackError
from invoke_stack.model import Answer, LogLine, Replica
from invoke_stack.runtimes.base import Say
from invoke_stack.runtimes.docker import container_exec, engine, engine_logs
from invoke_stack.runtimes.docker.engine_stream import Source
from invoke_stack.runtimes.docker.project import Project

if TYPE_CHECKING:
    from docker import APIClient


class DockerRuntime(ABC):
    """Implements the part of `runtimes.base.Runtime` that needs only the engine."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.project = Project(config)

    @functools.cached_property
    def client(self) -> APIClient:
        """The client of the engine. Raises `Unavailable` if it does not answer."""
        return engine.connect()

    @property
    @abstractmethod
    def label(self) -> str:
        """The label of all the project's objects on the engine, as `key=value`."""

    @abstractmethod
    def services(self) -> tuple[str, ...]:
        """Return the names of the stack's services, in start order."""

    @abstractmethod
    def _get(self, replica: Replica, path: str, timeout: float) -> Answer:
        """Do the same as `get`, but raise `StackError` if the engine fails."""

    @abstractmethod
    def _sources(self, services: Sequence[str], say: Say) -> list[Source]:
        """Return the log sources of these services.

        `say` is called for logs that cannot be read; repeated messages are shown once.
        """

    @abstractmethod
    def _container(self, service: str) -> str:
        """Return the id of one running container of a service. Raises `OutOfReach`."""

    @abstractmethod
    def _container_of(self, replica: Replica) -> str:
        """Return the id of a replica's container; empty if it is not on this engine."""

    def is_here(self) -> bool:
        """Return True if the engine's published ports are certainly ports of this machine."""
        return engine.publishes_here(self.client)

    def will_write_env(self) -> bool:
        """Return True if `up` would write new passwords into `.env`."""
        self.services()  # raises if the stack belongs to another checkout
        return self.project.needs_passwords(self.client, self.label)

    def get(self, replica: Replica, path: str, timeout: float) -> Answer:
        """GET a path of a replica's HTTP port within `timeout` seconds; never raises."""
        limit = timeout + container_exec.START_LIMIT
        try:
            # The client's own timeout is much longer, and the engine may hang.
            return container_exec.within(limit, lambda: self._get(replica, path, timeout))
        except TimeoutError:
            reason = f"the engine did not answer within {limit:g} s"
            return Answer("", None, {}, 0.0, reason, was_sent=False)
        except StackError as error:
            return Answer("", None, {}, 0.0, error.message, was_sent=False)

    def history(
        self, services: Sequence[str], *, tail: int | None, since: str | None, say: Say
    ) -> Iterator[LogLine]:
        """Return the lines of these services up to now, merged by time."""
        sources = self._sources(services, _once(say))
        return engine_logs.history(self.client, sources, tail=tail, since=since)

    def follow(
        self, services: Sequence[str], *, tail: int | None, since: str | None, say: Say
    ) -> Iterator[LogLine | None]:
        """Return the lines as `history` does, and then new ones, across restarts."""
        say_once = _once(say)

        def find_sources() -> list[Source]:
            return self._sources(services, say_once)

        return engine_logs.follow(self.client, find_sources, tail=tail, since=since, say=say)

    def main_command(self, replica: Replica) -> str:
        """Return the command line of a replica's main process; empty if it is unknown."""
        container = self._container_of(replica)
        return engine.main_command(self.client, container) if container else ""

    def execute(self, service: str, command: Sequence[str], timeout: float) -> str:
        """Run a command in a running container of a service, and return its stdout."""
        return container_exec.execute(self.client, self._container(service), command, timeout)

    def pipe(
        self,
        service: str,
        command: Sequence[str],
        *,
        source: BinaryIO | None = None,
        sink: BinaryIO | None = None,
    ) -> None:
        """Run a command in a running container of a service, with files as input and output."""
        container_exec.pipe(self._container(service), command, source=source, sink=sink)


def _once(say: Say) -> Say:
    """Return a function that passes each text to `say` once."""
    texts: set[str] = set()

    def say_once(text: str) -> None:
        if text not in texts:
            texts.add(text)
            say(text)

    return say_once
