"""The `swarm` runtime: a stack on the Docker Swarm whose manager the `docker` command uses.

Reads and changes everything through the API. Calls `docker` itself only for `stack deploy`, for
builds, and to read the Compose files.
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
from invoke_stack.runtimes.docker.project import report_orphans
from invoke_stack.runtimes.docker.runtime import DockerRuntime
from invoke_stack.runtimes.swarm import slots
from invoke_stack.runtimes.swarm.cluster import Cluster
from invoke_stack.runtimes.swarm.deploy import SCALED, Deployment
from invoke_stack.runtimes.swarm.replica_access import ReplicaAccess
from invoke_stack.runtimes.swarm.slots import Node, Service
from invoke_stack.runtimes.swarm.stackfile import DIGEST


class SwarmRuntime(DockerRuntime):
    """Implements `runtimes.base.Runtime` on a swarm."""

    name = "swarm"

    @functools.cached_property
    def capabilities(self) -> Capabilities:
        """Containers, scaling, and updates that Swarm rolls back."""
        return Capabilities(
            containers=True, scale=self._scale, rollback_reason=self._rollback_reason
        )

    @functools.cached_property
    def cluster(self) -> Cluster:
        """The stack's services, tasks and nodes."""
        return Cluster(self.client, self.project, self.label)

    @property
    def label(self) -> str:
        """The label of all the stack's objects on the swarm."""
        return f"com.docker.stack.namespace={self.project.name}"

    @functools.cached_property
    def deployment(self) -> Deployment:
        """The deployment of the stack."""
        return Deployment(self.client, self.project, self.label)

    @functools.cached_property
    def access(self) -> ReplicaAccess:
        """The access to the stack's replicas."""
        return ReplicaAccess(self.cluster, self.config)

    # State

    def presence(self) -> Presence:
        """Return how much of this project's stack exists on the swarm."""
        with engine.short_timeout() as self.client:
            if self.cluster.all_services():
                return Presence.RUNNING
            return Presence.DATA if self.cluster.has_data() else Presence.NOTHING

    def services(self) -> tuple[str, ...]:
        """Return the names of the stack's services, in start order."""
        return tuple(self.cluster.all_services())

    def expected_services(self) -> tuple[str, ...]:
        """Return the names of the services that `up` deploys."""
        self.cluster.all_services()  # raises if the manager fails, or for another checkout's stack
        return self.deployment.services()

    def orphans(self) -> tuple[str, ...]:
        """Return the names of the stack's services that are in no Compose file."""
        services = self.cluster.all_services()
        expected = self.deployment.services()
        return tuple(name for name in services if name not in expected)

    def data(self) -> tuple[str, ...]:
        """Return the names of the volumes that `down` deletes with `volumes`."""
        services = self.cluster.all_services()
        mounts = [
            mount["Source"]
            for name in self.orphans()
            for mount in _mounts(services[name]["Spec"])
            if mount["Type"] == "volume"
        ]
        with engine.errors():
            existing = self.client.volumes(filters={"label": self.label})["Volumes"] or ()
        volumes = sorted(v["Name"] for v in existing if v["Name"] not in mounts)
        if not services:
            self.project.refuse_other_data(volumes)
        return tuple(volumes)

    def replicas(self, service: str | None = None, *, probe: bool = True) -> list[Replica]:
        """Return the replicas of one service or of all, with health check output if `probe`."""
        nodes = self.cluster.nodes()
        replicas: list[Replica] = []
        for name, details in self.cluster.services([service] if service else None).items():
            tasks = self.cluster.tasks(details)
            replicas += slots.replicas_of(name, details, tasks, nodes)
        if service and not replicas:
            raise OutOfReach(f"{service} has no replicas", f"start one: inv scale {service}=1")
        return [self._with_probe_output(replica) for replica in replicas] if probe else replicas

    def _get(self, replica: Replica, path: str, timeout: float) -> Answer:
        return self.access.get(replica, path, timeout)

    def _rollback_reason(self, service: str) -> str:
        details = self.cluster.services([service])[service]
        state = (details.get("UpdateStatus") or {}).get("State", "")
        if not state.startswith(("rollback", "paused")):
            return ""
        failed = [task for task in self.cluster.tasks(details) if slots.error_message(task)]
        last = max(failed, key=slots.created_at, default=None)
        reason = slots.error_message(last) if last else details["UpdateStatus"].get("Message", "")
        return f"the update was rolled back: {reason}"

    def staleness(self, service: str) -> str:
        """Return why `up` would update a service, as a short message; else empty."""
        current = self.cluster.services([service])[service]["Spec"]["Labels"]
        expected = self.deployment.derive().content["services"].get(service)
        if not expected or expected["deploy"]["labels"][DIGEST] == current.get(DIGEST):
            return ""
        return "its image, the Compose files or .env has changed"

    def ports(self) -> Mapping[str, tuple[int, ...]]:
        """Return the ports that the stack publishes, by service."""
        return {
            name: tuple(port["published"] for port in service.get("ports", ()))
            for name, service in self.deployment.derive().content["services"].items()
        }

    # Changes

    def restart(self, service: str) -> None:
        """Replace all tasks of a service, following its update policy."""
        self.cluster.update(service, lambda spec: _force(spec["TaskTemplate"]))

    def _scale(self, service: str, count: int, *, dry_run: bool) -> None:
        current = self.cluster.services([service])[service]["Spec"]
        if "Replicated" not in current["Mode"]:
            raise BadInput(
                f"cannot scale {service}: it runs once on each node",
                "add a node: docker swarm join",
            )
        if count > 1 and any(mount["Type"] == "volume" for mount in _mounts(current)):
            raise BadInput(
                f"cannot scale {service}: it keeps its data in a volume",
                "scale a service without data, such as: inv scale backend=3",
            )

        def change(spec: dict[str, Any]) -> None:
            spec["Mode"]["Replicated"]["Replicas"] = count
            spec["Labels"][SCALED] = str(count)

        if not dry_run:
            self.cluster.update(service, change)

    def up(self, *, build: bool, remove_orphans: bool, say: Say) -> None:
        """Deploy the stack, with a new `.env` if the project needs passwords."""
        orphans = self.orphans()  # raises before anything is written
        self.project.write_env(self.client, self.label, say)
        report_orphans(orphans, say, removed=remove_orphans)
        record.write(self.config.state, self.name)
        self.project.record_start()
        self.deployment.deploy(build=build, prune=remove_orphans, say=say)

    def down(self, *, volumes: bool, say: Say) -> None:
        """Remove the stack, without its orphans; volumes stay unless `volumes`."""
        orphans = self.orphans()  # raises if the stack belongs to another checkout
        names = self.data() if volumes else None
        report_orphans(orphans, say)
        self.deployment.remove(keep=orphans, volumes=names, say=say)

    def _container(self, service: str) -> str:
        return self.access.local_container(service)

    def _container_of(self, replica: Replica) -> str:
        return self.access.container_of(replica)

    def _with_probe_output(self, replica: Replica) -> Replica:
        """Return a starting replica with the last output of its health check, if available."""
        if replica.health != "starting" or replica.reason:
            return replica
        container = self.access.container_of(replica)
        if not container:
            return replica
        with engine.errors():
            inspected = self.client.inspect_container(container)
        replica = engine.with_probe_output(replica, inspected)
        return slots.with_readiness_reason(replica, self.config.profile.readiness)

    def _sources(self, services: Sequence[str], say: Say) -> list[engine_stream.Source]:
        nodes = self.cluster.nodes()
        sources: list[engine_stream.Source] = []
        for name, details in self.cluster.services(services).items():
            sources += self._sources_of(name, details, nodes)
        for node in nodes.values():
            if not node.is_up:
                say(f"{node.name} is down: its logs are unavailable")
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
                    is_running=slots.is_running(task),
                    started_at=slots.created_at(task),
                    kind="tasks",
                )


def _mounts(spec: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return spec["TaskTemplate"]["ContainerSpec"].get("Mounts") or ()


def _force(template: dict[str, Any]) -> None:
    template["ForceUpdate"] = template.get("ForceUpdate", 0) + 1
