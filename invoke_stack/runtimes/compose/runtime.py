"""The `compose` runtime: a Compose project on a Docker Engine.

Containers are found by the labels that Compose gives them, whatever their names, and whichever
files they came from. `docker compose` itself is called for `up`, `down` and builds alone.
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
from invoke_stack.runtimes.docker.project import say_orphans
from invoke_stack.runtimes.docker.runtime import DockerRuntime

_ALIVE = {"running", "restarting", "paused"}  # states of a container that is not stopped


class ComposeRuntime(DockerRuntime):
    """Implements `runtimes.base.Runtime` with Compose."""

    name = "compose"
    capabilities = Capabilities(containers=True)

    @property
    def label(self) -> str:
        return f"{LABEL}.project={self.project.name}"

    @functools.cached_property
    def node(self) -> str:
        return engine.node_name(self.client)

    # What is there

    def presence(self) -> Presence:
        with engine.patience() as self.client, engine.errors():
            if states := {container["State"] for container in self._containers()}:
                return Presence.RUNNING if states & _ALIVE else Presence.STOPPED
            volumes = self.client.volumes(filters={"label": self.label})["Volumes"]
        return Presence.DATA if volumes else Presence.NOTHING

    def lacks(self) -> str:
        """What stands in the way of `up` here, in a few words; empty if nothing does.

        Raises `Unavailable` when no engine answers. Images that are not there are looked for in
        their registries, which takes a moment.
        """
        _ = self.client
        if not self.project.files():
            return "there is no Compose file"
        return images.obstacle(self.client, self.project)

    def services(self) -> tuple[str, ...]:
        names = [_service(container) for container in self._containers()]
        return tuple(dict.fromkeys(names))

    def expected_services(self) -> tuple[str, ...]:
        self._containers()  # raises if the engine is away, or the stack another checkout's
        return tuple(self.project.services())

    def orphans(self) -> tuple[str, ...]:
        self._containers()
        services = self.project.model(every_profile=True)["services"]
        labels = [self.label, f"{LABEL}.config-hash"]
        with engine.errors():
            containers = self.client.containers(all=True, filters={"label": labels})
        orphans = [each for each in containers if compose_labels.is_orphan(each, services)]
        return tuple(sorted(str(each["Names"][0]).lstrip("/") for each in orphans))

    def data(self) -> tuple[str, ...]:
        containers = self._containers()
        model = self.project.model(every_profile=True)
        with engine.errors():
            existing = self.client.volumes()["Volumes"] or ()
        volumes = [
            each["Name"]
            for each in existing
            if compose_labels.is_declared(each, self.project.name, model.get("volumes") or {})
        ]
        if not containers:
            self.project.refuse_other_data(volumes)
        services = model["services"]
        stopped = [each for each in containers if not compose_labels.is_orphan(each, services)]
        return tuple(sorted({*volumes, *compose_labels.anonymous_volumes(stopped)}))

    def replicas(self, service: str | None = None, *, probe: bool = True) -> list[Replica]:
        found = self._of([service] if service else None)
        with engine.errors(), ThreadPoolExecutor(8) as pool:
            inspected = list(pool.map(self.client.inspect_container, [c["Id"] for c in found]))
        replicas = [
            engine.replica_of(each, _service(container), self._replica(container, found), self.node)
            for container, each in zip(found, inspected, strict=True)
        ]
        return engine.remember_memory(self.client, replicas)

    def _ask(self, replica: Replica, path: str, timeout: float) -> Answer:
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

    def up(self, *, build: bool, remove_orphans: bool, say: Say) -> None:
        orphans = self.orphans()  # raises before anything is written
        self.project.write_env(self.client, self.label, say)
        say_orphans(orphans, say, removed=remove_orphans)
        words = ["up", "--detach", *(["--build"] if build else [])]
        words += ["--remove-orphans"] if remove_orphans else []
        say(f"docker compose {' '.join(words)}")
        record.write(self.config.state, self.name)
        self.project.note_start()
        self.project.compose(words, show=True)

    def down(self, *, volumes: bool, say: Say) -> None:
        orphans = self.orphans()  # raises for another checkout's
        if volumes:
            self.data()  # the same
        say_orphans(orphans, say)
        words = ["down", *(["--volumes"] if volumes else [])]
        say(f"docker compose {' '.join(words)}")
        self.project.compose(words, show=True)

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
            if expected and expected[0] != container["Labels"].get(f"{LABEL}.config-hash"):
                return "docker-compose.yml or .env has changed since it was created"
        return ""

    # Containers

    def _containers(self) -> list[dict[str, Any]]:
        """Compose's containers of the project, each behind those that it depends on.

        Raises `OtherCheckout` if they are those of another one.
        """
        labels = [self.label, f"{LABEL}.oneoff=False"]
        with engine.errors():
            found = self.client.containers(all=True, filters={"label": labels})
        folders = [each["Labels"].get(f"{LABEL}.project.working_dir", "") for each in found]
        self.project.refuse_other_checkout(folders, self.client)
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

    def _container(self, service: str) -> str:
        for container in self._of([service]):
            if container["State"] == "running":
                return str(container["Id"])
        raise OutOfReach(f"{service} does not run", "start it with: inv up")

    def _container_of(self, replica: Replica) -> str:
        return replica.identity

    def _replica(self, container: Mapping[str, Any], among: Sequence[Mapping[str, Any]]) -> str:
        """A replica's name: that of its service, with its number when there are several."""
        service = _service(container)
        several = sum(_service(each) == service for each in among) > 1
        return f"{service}-{_number(container)}" if several else service

    def _sources(self, services: Sequence[str], say: Say) -> list[engine_stream.Source]:
        found = self._of(services)
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(lambda each: self._source(each, found), found))

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


def _service(container: Mapping[str, Any]) -> str:
    return str(container["Labels"][f"{LABEL}.service"])


def _dependencies(container: Mapping[str, Any]) -> list[str]:
    listed = container["Labels"].get(f"{LABEL}.depends_on", "")
    return [entry.partition(":")[0] for entry in listed.split(",") if entry]


def _depth(service: str, needs: Mapping[str, Sequence[str]]) -> int:
    """How many services must start before this one, one after the other."""
    return 1 + max((_depth(each, needs) for each in needs.get(service, ())), default=-1)


def _number(container: Mapping[str, Any]) -> int:
    return int(container["Labels"].get(f"{LABEL}.container-number", 1))
