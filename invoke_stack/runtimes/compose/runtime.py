"""The `compose` runtime: a Compose project on a Docker Engine.

Finds containers by Compose's labels, whatever their names and Compose files. Calls `docker compose`
only to start, stop and build, and to read the Compose files.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from invoke_stack.errors import OutOfReach
from invoke_stack.model import Answer, Presence, Replica
from invoke_stack.runtimes import http, record
from invoke_stack.runtimes.base import Capabilities, Say
from invoke_stack.runtimes.docker import (
    compose_labels,
    container_exec,
    engine,
    engine_stream,
    images,
)
from invoke_stack.runtimes.docker.compose_labels import LABEL
from invoke_stack.runtimes.docker.project import report_orphans
from invoke_stack.runtimes.docker.runtime import DockerRuntime

_ALIVE = {"running", "restarting", "paused"}  # states of a container that is not stopped


class ComposeRuntime(DockerRuntime):
    """Implements `runtimes.base.Runtime` with Compose."""

    name = "compose"
    capabilities = Capabilities(containers=True)

    @property
    def label(self) -> str:
        """The label of all the project's objects on the engine."""
        return f"{LABEL}.project={self.project.name}"

    @functools.cached_property
    def node(self) -> str:
        """The name of the machine that the engine runs on."""
        return engine.node_name(self.client)

    # State

    def presence(self) -> Presence:
        """Return how much of this project's stack exists on the engine."""
        with engine.short_timeout() as self.client, engine.errors():
            if states := {container["State"] for container in self._containers()}:
                return Presence.RUNNING if states & _ALIVE else Presence.STOPPED
            volumes = self.client.volumes(filters={"label": self.label})["Volumes"]
        return Presence.DATA if volumes else Presence.NOTHING

    def obstacle(self) -> str:
        """Return why `up` cannot start the stack here, as a short message; else empty.

        Queries registries for missing images, which may take seconds. Raises `Unavailable` if no
        engine answers.
        """
        _ = self.client
        if not self.project.files():
            return "there is no Compose file"
        return images.obstacle(self.client, self.project)

    def services(self) -> tuple[str, ...]:
        """Return the names of the services with containers, in start order."""
        names = [_service(container) for container in self._containers()]
        return tuple(dict.fromkeys(names))

    def expected_services(self) -> tuple[str, ...]:
        """Return the names of the services that `up` starts."""
        self._containers()  # raises if no engine answers, or the stack is another checkout's
        return tuple(self.project.services())

    def orphans(self) -> tuple[str, ...]:
        """Return the names of the project's containers that are in no Compose file."""
        self._containers()
        services = self.project.model(all_profiles=True)["services"]
        labels = [self.label, f"{LABEL}.config-hash"]
        with engine.errors():
            containers = self.client.containers(all=True, filters={"label": labels})
        orphans = [each for each in containers if compose_labels.is_orphan(each, services)]
        return tuple(sorted(str(orphan["Names"][0]).lstrip("/") for orphan in orphans))

    def data(self) -> tuple[str, ...]:
        """Return the names of the volumes that `down` deletes with `volumes`."""
        containers = self._containers()
        model = self.project.model(all_profiles=True)
        with engine.errors():
            existing = self.client.volumes()["Volumes"] or ()
        volumes = [
            volume["Name"]
            for volume in existing
            if compose_labels.is_declared(volume, self.project.name, model.get("volumes") or {})
        ]
        if not containers:
            self.project.refuse_other_data(volumes)
        services = model["services"]
        stopped = [each for each in containers if not compose_labels.is_orphan(each, services)]
        return tuple(sorted({*volumes, *compose_labels.anonymous_volumes(stopped)}))

    def replicas(self, service: str | None = None, *, probe: bool = True) -> list[Replica]:
        """Return the replicas of one service or of all; `probe` makes no difference here."""
        containers = self._containers_of([service] if service else None)
        with engine.errors(), ThreadPoolExecutor(8) as pool:
            inspected = list(pool.map(self.client.inspect_container, [c["Id"] for c in containers]))
        replicas = [
            engine.replica_of(
                details, _service(container), _replica_name(container, containers), self.node
            )
            for container, details in zip(containers, inspected, strict=True)
        ]
        return engine.with_memory_kills(self.client, replicas)

    def _get(self, replica: Replica, path: str, timeout: float) -> Answer:
        configured = self.config.port if replica.service == self.config.service else 0
        if replica.ports and not configured and self.is_here():
            return http.fetch(f"http://{replica.ports[0]}{path}", timeout)
        with engine.errors():
            inspected = self.client.inspect_container(replica.identity)
        if (status := inspected["State"]["Status"]) != "running":
            return Answer("", None, {}, 0.0, f"its container is {status}")
        port = configured or container_exec.port(inspected)
        published = engine.published_address(inspected, port)
        if published and self.is_here():
            return http.fetch(f"http://{published}{path}", timeout)
        if address := engine.reachable_address(self.client, inspected):
            return http.fetch(f"http://{address}:{port}{path}", timeout)
        return container_exec.get(
            self.client, inspected["Id"], f"http://127.0.0.1:{port}{path}", timeout
        )

    # Changes

    def restart(self, service: str) -> None:
        """Restart all containers of a service at once."""

        def restart_container(container: Mapping[str, Any]) -> None:
            with engine.errors():
                inspected = self.client.inspect_container(container["Id"])
                # The SDK would send a grace period of 10 s, whatever the container's own is, and time
                # out too early.
                grace = inspected["Config"].get("StopTimeout") or engine.GRACE
                self.client.restart(container["Id"], timeout=grace)

        containers = self._containers_of([service])
        with ThreadPoolExecutor(len(containers)) as pool:
            list(pool.map(restart_container, containers))

    def up(self, *, build: bool, remove_orphans: bool, say: Say) -> None:
        """Run `docker compose up --detach`, with a new `.env` if the project needs passwords."""
        orphans = self.orphans()  # raises before anything is written
        self.project.write_env(self.client, self.label, say)
        report_orphans(orphans, say, removed=remove_orphans)
        arguments = ["up", "--detach", *(["--build"] if build else [])]
        arguments += ["--remove-orphans"] if remove_orphans else []
        say(f"running: docker compose {' '.join(arguments)}")
        record.write(self.config.state, self.name)
        self.project.record_start()
        self.project.compose(arguments, show_output=True)

    def down(self, *, volumes: bool, say: Say) -> None:
        """Run `docker compose down`; volumes stay unless `volumes`."""
        orphans = self.orphans()  # raises if the stack belongs to another checkout
        if volumes:
            self.data()  # raises if the data may belong to another checkout
        report_orphans(orphans, say)
        arguments = ["down", *(["--volumes"] if volumes else [])]
        say(f"running: docker compose {' '.join(arguments)}")
        self.project.compose(arguments, show_output=True)

    def ports(self) -> dict[str, tuple[int, ...]]:
        """Return the fixed ports that the Compose files publish, by service."""
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
        """Return why `up` would recreate a service's containers, as a short message; else empty."""
        for container in self._containers_of([service]):
            with engine.errors():
                inspected = self.client.inspect_container(container["Id"])
                image_ids = self.client.images(inspected["Config"]["Image"], quiet=True)
            if image_ids and inspected["Image"] not in image_ids:
                return "its image has been rebuilt"
            expected = self.project.compose(["config", "--hash", service]).split()[-1:]
            if expected and expected[0] != container["Labels"].get(f"{LABEL}.config-hash"):
                return "docker-compose.yml or .env has changed"
        return ""

    # Containers

    def _containers(self) -> list[dict[str, Any]]:
        """Return the project's containers, each after those that it depends on.

        Raises `OtherCheckout` if they belong to another checkout.
        """
        labels = [self.label, f"{LABEL}.oneoff=False"]
        with engine.errors():
            containers = self.client.containers(all=True, filters={"label": labels})
        folders = [each["Labels"].get(f"{LABEL}.project.working_dir", "") for each in containers]
        self.project.refuse_other_checkout(folders, self.client)
        needs = {_service(container): _dependencies(container) for container in containers}
        return sorted(
            containers, key=lambda c: (_depth(_service(c), needs), _service(c), _number(c))
        )

    def _containers_of(self, services: Sequence[str] | None) -> list[dict[str, Any]]:
        """Return the containers of these services, or of all.

        Raises `OutOfReach` if the stack is not up, or a service does not exist.
        """
        containers = self._containers()
        if not containers:
            raise OutOfReach(
                f"the stack is not up: no containers of the project {self.project.name!r}",
                "start it with: inv up",
            )
        names = list(dict.fromkeys(_service(container) for container in containers))
        for service in services or ():
            if service not in names:
                raise OutOfReach(f"no service {service!r}", f"available: {', '.join(names)}")
        return [c for c in containers if services is None or _service(c) in services]

    def _container(self, service: str) -> str:
        for container in self._containers_of([service]):
            if container["State"] == "running":
                return str(container["Id"])
        raise OutOfReach(f"{service} is not running", "start it with: inv up")

    def _container_of(self, replica: Replica) -> str:
        return replica.identity

    def _sources(self, services: Sequence[str], say: Say) -> list[engine_stream.Source]:
        containers = self._containers_of(services)
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(lambda each: self._source(each, containers), containers))

    def _source(
        self, container: Mapping[str, Any], containers: Sequence[Mapping[str, Any]]
    ) -> engine_stream.Source:
        with engine.errors():
            inspected = self.client.inspect_container(container["Id"])
        return engine_stream.Source(
            identity=container["Id"],
            service=_service(container),
            replica=_replica_name(container, containers),
            node=self.node,
            tty=inspected["Config"]["Tty"],
            is_running=inspected["State"]["Running"],
            started_at=inspected["State"]["StartedAt"],
        )


def _service(container: Mapping[str, Any]) -> str:
    return str(container["Labels"][f"{LABEL}.service"])


def _replica_name(container: Mapping[str, Any], containers: Sequence[Mapping[str, Any]]) -> str:
    """Return the name of its service, with its number if `containers` has several of it."""
    service = _service(container)
    has_siblings = sum(_service(each) == service for each in containers) > 1
    return f"{service}-{_number(container)}" if has_siblings else service


def _dependencies(container: Mapping[str, Any]) -> list[str]:
    listed = container["Labels"].get(f"{LABEL}.depends_on", "")
    return [entry.partition(":")[0] for entry in listed.split(",") if entry]


def _depth(service: str, needs: Mapping[str, Sequence[str]]) -> int:
    """Return the length of the longest chain of services that start before this one."""
    dependencies = needs.get(service, ())
    return 1 + max((_depth(dependency, needs) for dependency in dependencies), default=-1)


def _number(container: Mapping[str, Any]) -> int:
    return int(container["Labels"].get(f"{LABEL}.container-number", 1))
