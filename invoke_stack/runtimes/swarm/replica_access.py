"""Sends requests to replicas: in their containers on the connected node, else over the network."""

from __future__ import annotations

from typing import Any

from invoke_stack.config import Config
from invoke_stack.errors import OutOfReach
from invoke_stack.model import Answer, Replica
from invoke_stack.runtimes.docker import container_exec, engine
from invoke_stack.runtimes.swarm import slots
from invoke_stack.runtimes.swarm.cluster import Cluster
from invoke_stack.runtimes.swarm.slots import Task


class ReplicaAccess:
    """Access to a stack's replicas from the connected node."""

    def __init__(self, cluster: Cluster, config: Config) -> None:
        self.cluster = cluster
        self.config = config
        self.client = cluster.client

    def container_of(self, replica: Replica) -> str:
        """Return the id of a replica's container if it is on the connected node; else empty."""
        if not replica.identity:
            return ""
        with engine.errors():
            return self._local_container(self.client.inspect_task(replica.identity))

    def _local_container(self, task: Task) -> str:
        """Return the id of a task's container if it runs on the connected node; else empty."""
        if task.get("NodeID") != self.cluster.node_id or not slots.is_running(task):
            return ""
        return str((task["Status"].get("ContainerStatus") or {}).get("ContainerID", ""))

    def local_container(self, name: str) -> str:
        """Return the id of a container of a service on the connected node.

        Raises `OutOfReach` if there is none.
        """
        service = self.cluster.services([name])[name]
        tasks = [task for task in self.cluster.tasks(service) if slots.is_active(task)]
        for task in sorted(tasks, key=lambda task: task["Status"]["State"] != "running"):
            if container := self._local_container(task):
                return container
        nodes = self.cluster.nodes()
        names = {nodes[task["NodeID"]].name for task in tasks if task.get("NodeID") in nodes}
        raise OutOfReach(
            f"{name} runs on {', '.join(sorted(names)) or 'no node'}, not on the connected node",
            "connect to that node, if it is a manager: DOCKER_HOST=ssh://NODE",
        )

    def get(self, replica: Replica, path: str, timeout: float) -> Answer:
        """GET a path of a replica's port, from its own container or another local one."""
        if not replica.identity:
            return Answer("", None, {}, 0.0, replica.reason)
        with engine.errors():
            task = self.client.inspect_task(replica.identity)
        configured = self.config.port if replica.service == self.config.service else 0
        port = configured or self._port(task)
        if container := self._local_container(task):
            url = f"http://127.0.0.1:{port}{path}"
            return container_exec.get(self.client, container, url, timeout)
        if not slots.is_running(task):
            return Answer("", None, {}, 0.0, replica.reason or task["Status"]["State"])
        # The stack's containers on this node reach those on other nodes over a shared network.
        addresses = _addresses(task)
        for local_task in self._local_tasks(replica.service):
            for network in addresses.keys() & _addresses(local_task).keys():
                url = f"http://{addresses[network]}:{port}{path}"
                container = self._local_container(local_task)
                answer = container_exec.get(self.client, container, url, timeout)
                if answer.was_sent:
                    return answer
        reason = f"no container on the connected node can reach {replica.node}"
        return Answer("", None, {}, 0.0, reason, was_sent=False)

    def _local_tasks(self, service: str) -> list[Task]:
        """Return the stack's running tasks on the connected node, those of `service` first."""
        with engine.errors():
            tasks = self.client.tasks(
                filters={"label": self.cluster.label, "node": self.cluster.node_id}
            )
        service_id = self.cluster.all_services().get(service, {}).get("ID")
        running = [task for task in tasks if self._local_container(task)]
        return sorted(running, key=lambda task: task["ServiceID"] != service_id)

    def _port(self, task: Task) -> int:
        spec = task["Spec"]["ContainerSpec"]
        exposed: dict[str, Any] = {}
        with engine.errors():
            if self.client.images(spec["Image"], quiet=True):
                image = self.client.inspect_image(spec["Image"])
                exposed = image["Config"].get("ExposedPorts") or {}
        return container_exec.port({"Config": {"Env": spec.get("Env"), "ExposedPorts": exposed}})


def _addresses(task: Task) -> dict[str, str]:
    """Return a task's address in each of its networks, by network id."""
    return {
        each["Network"]["ID"]: each["Addresses"][0].partition("/")[0]
        for each in task.get("NetworksAttachments") or ()
        if each.get("Addresses")
    }
