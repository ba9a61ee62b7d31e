"""Looking into replicas: inside their containers where the node answers, over the network elsewhere."""

from __future__ import annotations

from typing import Any

from invoke_stack.config import Config
from invoke_stack.errors import OutOfReach
from invoke_stack.model import Answer, Replica
from invoke_stack.runtimes.docker import container_exec, engine
from invoke_stack.runtimes.swarm import slots
from invoke_stack.runtimes.swarm.cluster import Cluster
from invoke_stack.runtimes.swarm.slots import Task


class Reach:
    """What the node that answers can see of a stack's replicas."""

    def __init__(self, cluster: Cluster, config: Config) -> None:
        self.cluster = cluster
        self.config = config
        self.client = cluster.client

    def container_of(self, replica: Replica) -> str:
        """A replica's container, if it is on the node that answers; else empty."""
        if not replica.identity:
            return ""
        with engine.errors():
            return self._here(self.client.inspect_task(replica.identity))

    def _here(self, task: Task) -> str:
        if task.get("NodeID") != self.cluster.node_id or not slots.is_running(task):
            return ""
        return str((task["Status"].get("ContainerStatus") or {}).get("ContainerID", ""))

    def container_here(self, service: str) -> str:
        """The container of one of a service's replicas on the node that answers."""
        known = self.cluster.services([service])[service]
        wanted = [task for task in self.cluster.tasks(known) if slots.is_wanted(task)]
        for task in sorted(wanted, key=lambda each: each["Status"]["State"] != "running"):
            if container := self._here(task):
                return container
        nodes = self.cluster.nodes()
        places = {nodes[t["NodeID"]].name for t in wanted if t.get("NodeID") in nodes}
        raise OutOfReach(
            f"{service} runs on {', '.join(sorted(places)) or 'no node'}, not on the node that answers",
            "run it against the engine of that node: DOCKER_HOST=ssh://NODE (a manager)",
        )

    def get(self, replica: Replica, path: str, timeout: float) -> Answer:
        """GET a path of a replica's port, from inside its container or from another one here."""
        if not replica.identity:
            return Answer("", None, {}, 0.0, replica.reason)
        with engine.errors():
            task = self.client.inspect_task(replica.identity)
        configured = self.config.port if replica.service == self.config.service else 0
        port = configured or self._port(task)
        if container := self._here(task):
            url = f"http://127.0.0.1:{port}{path}"
            return container_exec.get(self.client, container, url, timeout)
        if not slots.is_running(task):
            return Answer("", None, {}, 0.0, replica.reason or task["Status"]["State"])
        # Any container of the stack on this node sees the others in their common network.
        addresses = _addresses(task)
        for messenger in self._messengers(replica.service):
            for network in addresses.keys() & _addresses(messenger).keys():
                url = f"http://{addresses[network]}:{port}{path}"
                answer = container_exec.get(self.client, self._here(messenger), url, timeout)
                if answer.was_sent:
                    return answer
        reason = f"no container here reaches {replica.node}"
        return Answer("", None, {}, 0.0, reason, was_sent=False)

    def _messengers(self, service: str) -> list[Task]:
        """Tasks on the node that answers, from where others can be asked; the service's own first."""
        with engine.errors():
            found = self.client.tasks(
                filters={"label": self.cluster.label, "node": self.cluster.node_id}
            )
        known = self.cluster.every().get(service, {}).get("ID")
        here = [task for task in found if self._here(task)]
        return sorted(here, key=lambda task: task["ServiceID"] != known)

    def _port(self, task: Task) -> int:
        spec = task["Spec"]["ContainerSpec"]
        exposed: dict[str, Any] = {}
        with engine.errors():
            if self.client.images(spec["Image"], quiet=True):
                image = self.client.inspect_image(spec["Image"])
                exposed = image["Config"].get("ExposedPorts") or {}
        return container_exec.port({"Config": {"Env": spec.get("Env"), "ExposedPorts": exposed}})


def _addresses(task: Task) -> dict[str, str]:
    """A task's address in each of its networks."""
    return {
        each["Network"]["ID"]: each["Addresses"][0].partition("/")[0]
        for each in task.get("NetworksAttachments") or ()
        if each.get("Addresses")
    }
