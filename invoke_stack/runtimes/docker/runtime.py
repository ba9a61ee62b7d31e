"""What the runtimes on a Docker engine have in common."""

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
    """Implements the part of `runtimes.base.Runtime` that depends on the engine alone."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.project = Project(config)

    @functools.cached_property
    def client(self) -> APIClient:
        return engine.connect()

    @property
    @abstractmethod
    def label(self) -> str:
        """The label of everything that belongs to the project on the engine."""

    @abstractmethod
    def services(self) -> tuple[str, ...]: ...

    @abstractmethod
    def _ask(self, replica: Replica, path: str, timeout: float) -> Answer:
        """As `get`, but raises `StackError` where the engine cannot be asked."""

    @abstractmethod
    def _sources(self, services: Sequence[str], say: Say) -> list[Source]:
        """Return what the lines of these services are read from.

        `say` gets what cannot be read; the same text twice is shown once.
        """

    @abstractmethod
    def _container(self, service: str) -> str:
        """Return the id of one running container of a service. Raises `OutOfReach`."""

    @abstractmethod
    def _container_of(self, replica: Replica) -> str:
        """Return the id of a replica's container; empty if the engine does not have it."""

    def is_here(self) -> bool:
        return engine.publishes_here(self.client)

    def will_write_env(self) -> bool:
        self.services()  # raises for another checkout's
        return self.project.lacks_passwords(self.client, self.label)

    def get(self, replica: Replica, path: str, timeout: float) -> Answer:
        limit = timeout + container_exec.START_LIMIT
        try:
            # The client's own limit for an engine that hangs is much longer.
            return container_exec.within(limit, lambda: self._ask(replica, path, timeout))
        except TimeoutError:
            reason = f"the engine did not answer within {limit:g} s"
            return Answer("", None, {}, 0.0, reason, was_sent=False)
        except StackError as error:
            return Answer("", None, {}, 0.0, error.message, was_sent=False)

    def history(
        self, services: Sequence[str], *, tail: int | None, since: str | None, say: Say
    ) -> Iterator[LogLine]:
        sources = self._sources(services, _once(say))
        return engine_logs.history(self.client, sources, tail=tail, since=since)

    def follow(
        self, services: Sequence[str], *, tail: int | None, since: str | None, say: Say
    ) -> Iterator[LogLine | None]:
        tell = _once(say)

        def find() -> list[Source]:
            return self._sources(services, tell)

        return engine_logs.follow(self.client, find, tail=tail, since=since, say=say)

    def main_command(self, replica: Replica) -> str:
        container = self._container_of(replica)
        return engine.main_command(self.client, container) if container else ""

    def execute(self, service: str, command: Sequence[str], timeout: float) -> str:
        return container_exec.execute(self.client, self._container(service), command, timeout)

    def pipe(
        self,
        service: str,
        command: Sequence[str],
        *,
        source: BinaryIO | None = None,
        sink: BinaryIO | None = None,
    ) -> None:
        container_exec.pipe(self._container(service), command, source=source, sink=sink)


def _once(say: Say) -> Say:
    said: set[str] = set()

    def tell(text: str) -> None:
        if text not in said:
            said.add(text)
            say(text)

    return tell
