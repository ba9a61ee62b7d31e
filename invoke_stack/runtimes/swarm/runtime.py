"""The `swarm` runtime: a stack on the Docker Swarm whose manager the `docker` command would use.

Everything is read and changed through the API; `docker` itself is called for `stack deploy`,
`stack rm`, builds, and to read the Compose files.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from invoke_stack.errors import BadInput, OutOfReach
from invoke_stack.model import Answer, Presence, Replica
from invoke_stack.runtimes import record
from invoke_stack.runtimes.base import Capabilities, Say
from invoke_stack.runtimes.docker import engine, engine_stream
from invoke_stack.runtimes.docker.project import say_orphans
from invoke_stack.runtimes.docker.runtime import DockerRuntime
from invoke_stack.runtimes.swarm import slots
from invoke_stack.runtimes.swarm.cluster import Cluster
from invoke_stack.runtimes.swarm.deploy import SCALED, Deployment
from invoke_stack.runtimes.swarm.reach import Reach
from invoke_stack.runtimes.swarm.slots import Node, Service
from invoke_stack.runtimes.swarm.stackfile import DIGEST


class SwarmRuntime(DockerRuntime):
    """Implements `runtimes.base.Runtime` on a swarm."""

    name = "swarm"

    @functools.cached_property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            containers=True, scale=self._scale, rollback_reason=self._rollback_reason
        )

    @functools.cached_property
    def cluster(self) -> Cluster:
        return Cluster(self.client, self.project, self.label)

    @property
    def label(self) -> str:
        return f"com.docker.stack.namespace={self.project.name}"

    @functools.cached_property
    def deployment(self) -> Deployment:
        return Deployment(self.client, self.project, self.label)

    @functools.cached_property
    def reach(self) -> Reach:
        return Reach(self.cluster, self.config)

    # What is there

    def presence(self) -> Presence:
        with engine.patience() as self.client:
            if self.cluster.every():
                return Presence.RUNNING
            return Presence.DATA if self.cluster.has_data() else Presence.NOTHING

    def services(self) -> tuple[str, ...]:
        return tuple(self.cluster.every())

    def expected_services(self) -> tuple[str, ...]:
        self.cluster.every()  # raises if the manager is away, or the stack another checkout's
        return self.deployment.services()

    def orphans(self) -> tuple[str, ...]:
        services = self.cluster.every()
        wanted = self.deployment.services()
        return tuple(name for name in services if name not in wanted)

    def data(self) -> tuple[str, ...]:
        services = self.cluster.every()
        mounts = [
            mount["Source"]
            for name in self.orphans()
            for mount in _mounts(services[name]["Spec"])
            if mount["Type"] == "volume"
        ]
        with engine.errors():
            existing = self.client.volumes(filters={"label": self.label})["Volumes"] or ()
        volumes = sorted(each["Name"] for each in existing if each["Name"] not in mounts)
        if not services:
            self.project.refuse_other_data(volumes)
        return tuple(volumes)

    def replicas(self, service: str | None = None, *, probe: bool = True) -> list[Replica]:
        nodes = self.cluster.nodes()
        found: list[Replica] = []
        for name, known in self.cluster.services([service] if service else None).items():
            tasks = self.cluster.tasks(known)
            found += slots.replicas_of(name, known, tasks, nodes)
        if service and not found:
            raise OutOfReach(f"{service} has no replicas", f"give it one: inv scale {service}=1")
        return [self._with_last_words(replica) for replica in found] if probe else found

    def _ask(self, replica: Replica, path: str, timeout: float) -> Answer:
        return self.reach.get(replica, path, timeout)

    def _rollback_reason(self, service: str) -> str:
        known = self.cluster.services([service])[service]
        state = (known.get("UpdateStatus") or {}).get("State", "")
        if not state.startswith(("rollback", "paused")):
            return ""
        broken = [task for task in self.cluster.tasks(known) if slots.why(task)]
        last = max(broken, key=slots.created, default=None)
        reason = slots.why(last) if last else known["UpdateStatus"].get("Message", "")
        return f"the update was rolled back: {reason}"

    def staleness(self, service: str) -> str:
        known = self.cluster.services([service])[service]
        wanted = self.deployment.derive().content["services"].get(service)
        if not wanted or wanted["deploy"]["labels"][DIGEST] == known["Spec"]["Labels"].get(DIGEST):
            return ""
        return "its image, the Compose files or .env has changed since it was created"

    def ports(self) -> Mapping[str, tuple[int, ...]]:
        return {
            name: tuple(port["published"] for port in service.get("ports", ()))
            for name, service in self.deployment.derive().content["services"].items()
        }

    # What changes it

    def restart(self, service: str) -> None:
        """Ask for new tasks in place of all; the service's update policy decides how they take over."""
        self.cluster.update(service, lambda spec: _force(spec["TaskTemplate"]))

    def _scale(self, service: str, count: int, *, dry_run: bool) -> None:
        known = self.cluster.services([service])[service]["Spec"]
        if "Replicated" not in known["Mode"]:
            raise BadInput(f"{service} runs once on each node", "add a node: docker swarm join")
        if count > 1 and any(mount["Type"] == "volume" for mount in _mounts(known)):
            raise BadInput(
                f"{service} keeps its data in a volume, which takes one at a time",
                "scale what holds no data, such as: inv scale backend=3",
            )

        def change(spec: dict[str, Any]) -> None:
            spec["Mode"]["Replicated"]["Replicas"] = count
            spec["Labels"][SCALED] = str(count)

        if not dry_run:
            self.cluster.update(service, change)

    def up(self, *, build: bool, remove_orphans: bool, say: Say) -> None:
        orphans = self.orphans()  # raises before anything is written
        self.project.write_env(self.client, self.label, say)
        say_orphans(orphans, say, removed=remove_orphans)
        record.write(self.config.state, self.name)
        self.project.note_start()
        self.deployment.deploy(build=build, prune=remove_orphans, say=say)

    def down(self, *, volumes: bool, say: Say) -> None:
        orphans = self.orphans()  # raises for another checkout's
        names = self.data() if volumes else None
        say_orphans(orphans, say)
        self.deployment.remove(kept=orphans, volumes=names, say=say)

    def _container(self, service: str) -> str:
        return self.reach.container_here(service)

    def _container_of(self, replica: Replica) -> str:
        return self.reach.container_of(replica)

    def _with_last_words(self, replica: Replica) -> Replica:
        """With what its probe said last, where it is not up yet and its node can be asked."""
        if replica.health != "starting" or replica.reason:
            return replica
        container = self.reach.container_of(replica)
        if not container:
            return replica
        with engine.errors():
            inspected = self.client.inspect_container(container)
        return slots.explained(engine.with_probe(replica, inspected), self.config.profile.readiness)

    def _sources(self, services: Sequence[str], say: Say) -> list[engine_stream.Source]:
        nodes = self.cluster.nodes()
        sources: list[engine_stream.Source] = []
        for name, known in self.cluster.services(services).items():
            sources += self._sources_of(name, known, nodes)
        for node in nodes.values():
            if not node.is_up:
                say(f"{node.name} is down: what it has logged is out of reach")
        return sources

    def _sources_of(
        self, name: str, service: Service, nodes: Mapping[str, Node]
    ) -> Iterator[engine_stream.Source]:
        tasks = [task for task in self.cluster.tasks(service) if slots.has_container(task)]
        names = slots.replica_names(name, service, map(slots.slot_of, tasks), nodes)
        for task in tasks:
            node = nodes.get(task["NodeID"])
            if node and node.is_up:
                yield engine_stream.Source(
                    identity=task["ID"],
                    service=name,
                    replica=names[slots.slot_of(task)],
                    node=node.name,
                    tty=bool(task["Spec"]["ContainerSpec"].get("TTY")),
                    running=slots.is_running(task),
                    started=slots.created(task),
                    kind="tasks",
                )


def _mounts(spec: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return spec["TaskTemplate"]["ContainerSpec"].get("Mounts") or ()


def _force(template: dict[str, Any]) -> None:
    template["ForceUpdate"] = template.get("ForceUpdate", 0) + 1
