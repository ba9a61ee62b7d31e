"""The `swarm` runtime: a stack on the Docker Swarm whose manager the `docker` command would use.

Everything is read and changed through the API; `docker` itself is called for `stack deploy`,
`stack rm`, builds, and to read the Compose files.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from ops.config import Config
from ops.errors import BadInput, OpsError, OutOfReach
from ops.model import Answer, LogLine, Replica
from ops.runtime import Say
from ops.runtimes import engine, engine_logs, engine_stream, inside
from ops.runtimes.project import Project
from ops.runtimes.swarm import tasks as tasks_of
from ops.runtimes.swarm.cluster import Cluster
from ops.runtimes.swarm.deploy import SCALED, Stack
from ops.runtimes.swarm.reach import Reach
from ops.runtimes.swarm.stackfile import DIGEST
from ops.runtimes.swarm.tasks import Node, Service

if TYPE_CHECKING:
    from docker import APIClient


class SwarmRuntime:
    """Implements `ops.runtime.Runtime` on a swarm."""

    name = "swarm"

    def __init__(self, config: Config) -> None:
        self.config = config
        self.project = Project(config)
        self.cluster = Cluster(self.project.name)

    @property
    def client(self) -> APIClient:
        return self.cluster.client

    @functools.cached_property
    def stack(self) -> Stack:
        return Stack(self.client, self.project, self.cluster.label)

    @functools.cached_property
    def reach(self) -> Reach:
        return Reach(self.cluster)

    # What is there

    def is_up(self) -> bool:
        try:
            return bool(self.cluster.every())
        except OpsError:
            return False

    def is_here(self) -> bool:
        return engine.publishes_here(self.client)

    def services(self) -> tuple[str, ...]:
        return tuple(self.cluster.every())

    def wanted(self) -> tuple[str, ...]:
        self.cluster.every()  # a manager that is away is told first
        return tuple(self.project.services())

    def replicas(self, service: str | None = None, *, probe: bool = True) -> list[Replica]:
        nodes = self.cluster.nodes()
        found: list[Replica] = []
        for name, known in self.cluster.services([service] if service else None).items():
            tasks = self.cluster.tasks(known)
            found += tasks_of.replicas_of(name, known, tasks, nodes)
        if service and not found:
            raise OutOfReach(f"{service} has no replicas", f"give it one: inv scale {service}=1")
        return [self._with_last_words(replica) for replica in found] if probe else found

    def get(self, replica: Replica, path: str, timeout: float) -> Answer:
        try:
            return self.reach.get(replica, path, timeout)
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
        silent: set[str] = set()  # nodes of which it was told

        def sources() -> list[engine_stream.Source]:
            nodes = self.cluster.nodes()
            found: list[engine_stream.Source] = []
            for name, known in self.cluster.services(services).items():
                found += self._sources(name, known, nodes)
            for node in {each.name for each in nodes.values() if not each.is_up} - silent:
                silent.add(node)
                say(f"{node} is down: what it has logged is out of reach")
            return found

        if follow:
            return engine_logs.follow(self.client, sources, tail=tail, since=since, say=say)
        return engine_logs.history(self.client, sources(), tail=tail, since=since)

    def undone(self, service: str) -> str:
        known = self.cluster.services([service])[service]
        state = (known.get("UpdateStatus") or {}).get("State", "")
        if not state.startswith(("rollback", "paused")):
            return ""
        broken = [task for task in self.cluster.tasks(known) if tasks_of.why(task)]
        last = max(broken, key=tasks_of.created, default=None)
        reason = tasks_of.why(last) if last else known["UpdateStatus"].get("Message", "")
        return f"the update was rolled back: {reason}"

    def staleness(self, service: str) -> str:
        known = self.cluster.services([service])[service]
        wanted = self.stack.derive().content["services"].get(service)
        if not wanted or wanted["deploy"]["labels"][DIGEST] == known["Spec"]["Labels"].get(DIGEST):
            return ""
        return "its image, the Compose files or .env has changed since it was created"

    def main_command(self, replica: Replica) -> str:
        container = self.reach.container_of(replica)
        return engine.main_command(self.client, container) if container else ""

    def ports(self) -> Mapping[str, tuple[int, ...]]:
        return {
            name: tuple(port["published"] for port in service.get("ports", ()))
            for name, service in self.stack.derive().content["services"].items()
        }

    # What changes it

    def restart(self, service: str) -> None:
        """Ask for new tasks in place of all; the service's update policy decides how they take over."""
        self.cluster.update(service, lambda spec: _force(spec["TaskTemplate"]))

    def scale(self, service: str, count: int, *, dry_run: bool) -> None:
        known = self.cluster.services([service])[service]["Spec"]
        if "Replicated" not in known["Mode"]:
            raise BadInput(f"{service} runs once on each node", "add a node: docker swarm join")
        mounts = known["TaskTemplate"]["ContainerSpec"].get("Mounts") or ()
        if count > 1 and any(mount["Type"] == "volume" for mount in mounts):
            raise BadInput(
                f"{service} keeps its data in a volume, which takes one at a time",
                "scale what holds no data, such as: inv scale backend=3",
            )

        def change(spec: dict[str, Any]) -> None:
            spec["Mode"]["Replicated"]["Replicas"] = count
            spec["Labels"][SCALED] = str(count)

        if not dry_run:
            self.cluster.update(service, change)

    def up(self, *, build: bool, say: Say) -> None:
        self.cluster.every()  # without a manager, nothing is written
        self.project.write_env(self.client, self.cluster.label, say)
        self.stack.deploy(build=build, say=say)

    def down(self, *, volumes: bool, say: Say) -> None:
        self.stack.remove(volumes=volumes, say=say)

    def execute(self, service: str, words: Sequence[str], timeout: float) -> str:
        return inside.execute(self.client, self.reach.container_here(service), words, timeout)

    def pipe(
        self,
        service: str,
        words: Sequence[str],
        *,
        source: BinaryIO | None = None,
        sink: BinaryIO | None = None,
    ) -> None:
        inside.pipe(self.reach.container_here(service), words, source=source, sink=sink)

    def _with_last_words(self, replica: Replica) -> Replica:
        """With what its probe said last, where it is not up yet and its node can be asked."""
        if replica.health != "starting" or replica.reason:
            return replica
        container = self.reach.container_of(replica)
        if not container:
            return replica
        with engine.errors():
            inspected = self.client.inspect_container(container)
        return tasks_of.explained(engine.with_probe(replica, inspected))

    def _sources(
        self, name: str, service: Service, nodes: Mapping[str, Node]
    ) -> Iterator[engine_stream.Source]:
        tasks = [task for task in self.cluster.tasks(service) if tasks_of.has_container(task)]
        names = tasks_of.replica_names(name, service, map(tasks_of.slot_of, tasks), nodes)
        for task in tasks:
            node = nodes.get(task["NodeID"])
            if node and node.is_up:
                yield engine_stream.Source(
                    identity=task["ID"],
                    service=name,
                    replica=names[tasks_of.slot_of(task)],
                    node=node.name,
                    tty=bool(task["Spec"]["ContainerSpec"].get("TTY")),
                    running=tasks_of.is_running(task),
                    started=tasks_of.created(task),
                    kind="tasks",
                )


def _force(template: dict[str, Any]) -> None:
    template["ForceUpdate"] = template.get("ForceUpdate", 0) + 1
