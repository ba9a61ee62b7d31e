"""The `compose` runtime: a Compose project on a Docker Engine.

Containers are found by the labels that Compose gives them, whatever their names, and whichever
files they came from. `docker compose` itself is called for `up`, `down` and builds alone.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ops import health
from ops.config import Config
from ops.errors import BadInput, OpsError, OutOfReach
from ops.model import Answer, LogLine, Replica
from ops.runtime import Say
from ops.runtimes import engine, engine_logs, engine_stream, inside
from ops.runtimes.project import Project

if TYPE_CHECKING:
    from docker import APIClient

_LABEL = "com.docker.compose"


class ComposeRuntime:
    """Implements `ops.runtime.Runtime` on the engine that the `docker` command would use."""

    name = "compose"

    def __init__(self, config: Config) -> None:
        self.config = config
        self.project = Project(config)

    @functools.cached_property
    def client(self) -> APIClient:
        return engine.connect()

    @functools.cached_property
    def node(self) -> str:
        return engine.node_name(self.client)

    # What is there

    def is_up(self) -> bool:
        try:
            return any(container["State"] == "running" for container in self._containers())
        except OpsError:
            return False

    def lacks(self) -> str:
        """What stands in the way of `up` here, in a few words; empty if nothing does.

        Raises `OutOfReach` when no engine answers. Images that are not there are looked for in
        their registries, which takes a moment.
        """
        _ = self.client
        if not self.project.files():
            return "there is no Compose file"
        for image in self._images():
            with engine.errors():
                if self.client.images(image, quiet=True):
                    continue
            try:
                with engine.errors():
                    self.client.inspect_distribution(image)
            except OutOfReach:
                return f"an engine answers, but the image {image} cannot be had"
        return ""

    def _images(self) -> list[str]:
        """The images that `up` needs: those of the services, or what their builds begin from."""
        wanted = []
        for service in self.project.services().values():
            build = service.get("build")
            if not build:
                wanted.append(_default_of(service["image"]))
                continue
            file = Path(build["context"]) / build.get("dockerfile", "Dockerfile")
            stages = re.findall(r"^FROM (\S+)(?: AS (\S+))?", file.read_text("utf-8"), re.M)
            names = {alias for _, alias in stages}
            wanted += [image for image, _ in stages if image not in names]
        # Images that are built here have no registry.
        return [image for image in dict.fromkeys(wanted) if not image.startswith("deal-scout-")]

    def services(self) -> tuple[str, ...]:
        names = [_service(container) for container in self._containers()]
        return tuple(dict.fromkeys(names))

    def wanted(self) -> tuple[str, ...]:
        _ = self.client  # an engine that is away is told first
        return tuple(self.project.services())

    def replicas(self, service: str | None = None, *, probe: bool = True) -> list[Replica]:
        found = self._of([service] if service else None)
        with engine.errors(), ThreadPoolExecutor(8) as pool:
            inspected = list(pool.map(self.client.inspect_container, [c["Id"] for c in found]))
        replicas = [
            engine.replica_of(each, _service(container), self._replica(container, found), self.node)
            for container, each in zip(found, inspected, strict=True)
        ]
        return engine.remember_memory(self.client, replicas)

    def is_here(self) -> bool:
        return engine.publishes_here(self.client)

    def get(self, replica: Replica, path: str, timeout: float) -> Answer:
        try:
            if replica.ports and self.is_here():
                return health.fetch(f"http://{replica.ports[0]}{path}", timeout)
            with engine.errors():
                inspected = self.client.inspect_container(replica.identity)
            if (status := inspected["State"]["Status"]) != "running":
                return Answer("", None, {}, 0.0, f"its container is {status}")
            port = inside.port(inspected)
            if address := engine.reachable_address(self.client, inspected):
                return health.fetch(f"http://{address}:{port}{path}", timeout)
            url = f"http://127.0.0.1:{port}{path}"
            return inside.get(self.client, inspected["Id"], url, timeout)
        except OpsError as error:
            return Answer("", None, {}, 0.0, error.message, asked=False)

    def logs(
        self,
        services: Sequence[str],
        *,
        tail: int | None,
        since: str | None,
        follow: bool,
        say: Say,
    ) -> Iterator[LogLine | None]:
        def sources() -> list[engine_stream.Source]:
            found = self._of(services)
            with ThreadPoolExecutor(8) as pool:
                return list(pool.map(lambda each: self._source(each, found), found))

        if follow:
            return engine_logs.follow(self.client, sources, tail=tail, since=since, say=say)
        return engine_logs.history(self.client, sources(), tail=tail, since=since)

    # What changes it

    def restart(self, service: str) -> None:
        def one(container: Mapping[str, Any]) -> None:
            with engine.errors():
                inspected = self.client.inspect_container(container["Id"])
                # The SDK would ask for 10 s whatever the container's own grace period is, and give
                # up on the answer too early.
                grace = inspected["Config"].get("StopTimeout") or engine.GRACE
                self.client.restart(container["Id"], timeout=grace)

        found = self._of([service])
        with ThreadPoolExecutor(len(found)) as pool:
            list(pool.map(one, found))

    def up(self, *, build: bool, say: Say) -> None:
        _ = self.client  # without an engine, nothing is written
        self.project.write_env(self.client, f"{_LABEL}.project={self.project.name}", say)
        words = ["up", "--detach", "--remove-orphans", *(["--build"] if build else [])]
        say(f"docker compose {' '.join(words)}")
        self.project.compose(words, show=True)

    def down(self, *, volumes: bool, say: Say) -> None:
        words = ["down", "--remove-orphans", *(["--volumes"] if volumes else [])]
        say(f"docker compose {' '.join(words)}")
        self.project.compose(words, show=True)

    def execute(self, service: str, words: Sequence[str], timeout: float) -> str:
        return inside.execute(self.client, self._running(service)["Id"], words, timeout)

    def pipe(
        self,
        service: str,
        words: Sequence[str],
        *,
        source: BinaryIO | None = None,
        sink: BinaryIO | None = None,
    ) -> None:
        inside.pipe(self._running(service)["Id"], words, source=source, sink=sink)

    def undone(self, service: str) -> str:
        return ""  # Compose takes nothing back

    def scale(self, service: str, count: int, *, dry_run: bool) -> None:
        raise BadInput(
            "inv scale is for the runtime swarm",
            f"use: docker compose up --detach --no-recreate --scale {service}={count}",
        )

    def main_command(self, replica: Replica) -> str:
        return engine.main_command(self.client, replica.identity)

    def ports(self) -> dict[str, tuple[int, ...]]:
        services = json.loads(self.project.compose(["config", "--format", "json"]))["services"]
        return {
            name: tuple(
                int(port["published"])
                for port in service.get("ports") or ()
                if str(port.get("published", "0")).isdigit() and int(port.get("published", 0))
            )
            for name, service in services.items()
        }

    def staleness(self, service: str) -> str:
        """Why the running containers are not what `inv up` would start now; empty if they are."""
        for container in self._of([service]):
            with engine.errors():
                inspected = self.client.inspect_container(container["Id"])
                named = self.client.images(inspected["Config"]["Image"], quiet=True)
            if named and inspected["Image"] not in named:
                return "its image has been built anew since it was created"
            expected = self.project.compose(["config", "--hash", service]).split()[-1:]
            if expected and expected[0] != container["Labels"].get(f"{_LABEL}.config-hash"):
                return "docker-compose.yml or .env has changed since it was created"
        return ""

    # Containers

    def _containers(self) -> list[dict[str, Any]]:
        """Compose's containers of the project, each behind those that it depends on."""
        labels = [f"{_LABEL}.project={self.project.name}", f"{_LABEL}.oneoff=False"]
        with engine.errors():
            found = self.client.containers(all=True, filters={"label": labels})
        needs = {_service(container): _dependencies(container) for container in found}
        return sorted(found, key=lambda c: (_depth(_service(c), needs), _service(c), _number(c)))

    def _of(self, services: Sequence[str] | None) -> list[dict[str, Any]]:
        every = self._containers()
        if not every:
            raise OutOfReach(
                f"the stack is not up: no containers of the project {self.project.name!r}",
                "start it with: inv up",
            )
        names = list(dict.fromkeys(_service(container) for container in every))
        for service in services or ():
            if service not in names:
                raise OutOfReach(f"no service {service!r}", f"there are: {', '.join(names)}")
        return [c for c in every if services is None or _service(c) in services]

    def _running(self, service: str) -> dict[str, Any]:
        """One of a service's running containers."""
        for container in self._of([service]):
            if container["State"] == "running":
                return container
        raise OutOfReach(f"{service} does not run", "start it with: inv up")

    def _replica(self, container: Mapping[str, Any], among: Sequence[Mapping[str, Any]]) -> str:
        """A replica's name: that of its service, with its number when there are several."""
        service = _service(container)
        several = sum(_service(each) == service for each in among) > 1
        return f"{service}-{_number(container)}" if several else service

    def _source(
        self, container: Mapping[str, Any], among: Sequence[Mapping[str, Any]]
    ) -> engine_stream.Source:
        with engine.errors():
            inspected = self.client.inspect_container(container["Id"])
        return engine_stream.Source(
            identity=container["Id"],
            service=_service(container),
            replica=self._replica(container, among),
            node=self.node,
            tty=inspected["Config"]["Tty"],
            running=inspected["State"]["Running"],
            started=inspected["State"]["StartedAt"],
        )


def _default_of(image: str) -> str:
    """An image's name with the defaults of its variables: `x:${TAG:-latest}` is `x:latest`."""
    return re.sub(r"\$\{\w+:?-([^}]*)\}", r"\1", image)


def _service(container: Mapping[str, Any]) -> str:
    return str(container["Labels"][f"{_LABEL}.service"])


def _dependencies(container: Mapping[str, Any]) -> list[str]:
    listed = container["Labels"].get(f"{_LABEL}.depends_on", "")
    return [entry.partition(":")[0] for entry in listed.split(",") if entry]


def _depth(service: str, needs: Mapping[str, Sequence[str]]) -> int:
    """How many services must start before this one, one after the other."""
    return 1 + max((_depth(each, needs) for each in needs.get(service, ())), default=-1)


def _number(container: Mapping[str, Any]) -> int:
    return int(container["Labels"].get(f"{_LABEL}.container-number", 1))
