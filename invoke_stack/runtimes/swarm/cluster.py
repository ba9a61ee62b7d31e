"""Reads a stack's services, tasks and nodes from a swarm manager, and updates services."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from invoke_stack.errors import OutOfReach
from invoke_stack.runtimes.docker import engine
from invoke_stack.runtimes.docker.project import Project
from invoke_stack.runtimes.swarm.slots import Node, Service, Task
from invoke_stack.runtimes.swarm.stackfile import FOLDER, POSITION

if TYPE_CHECKING:
    from docker import APIClient


class Cluster:
    """One stack on a swarm. Every method raises `OutOfReach` if the manager fails."""

    def __init__(self, client: APIClient, project: Project, label: str) -> None:
        self.client = client
        self.project = project
        self.stack = project.name
        self.label = label

    @functools.cached_property
    def node_id(self) -> str:
        """The id of the connected node, whose containers can be accessed."""
        with engine.errors():
            return str(self.client.info()["Swarm"]["NodeID"])

    def all_services(self) -> dict[str, Service]:
        """Return the stack's services by name, in start order.

        Raises `OtherCheckout` if they belong to another checkout.
        """
        with engine.errors():
            services = self.client.services(filters={"label": self.label})
        folders = [service["Spec"]["Labels"].get(FOLDER, "") for service in services]
        self.project.refuse_other_checkout(folders, self.client)
        services.sort(key=lambda service: int(service["Spec"]["Labels"].get(POSITION, 0)))
        prefix = len(self.stack) + 1
        return {service["Spec"]["Name"][prefix:]: service for service in services}

    def has_data(self) -> bool:
        """Return True if the stack has secrets, or volumes on the connected node."""
        filters = {"label": self.label}
        with engine.errors():
            volumes = self.client.volumes(filters=filters)["Volumes"]
            return bool(volumes or self.client.secrets(filters=filters))

    def services(self, names: Sequence[str] | None) -> dict[str, Service]:
        """Return these services, or all.

        Raises `OutOfReach` if the stack is not up, or a service does not exist.
        """
        services = self.all_services()
        if not services:
            raise OutOfReach(
                f"the stack is not up: the swarm has no stack {self.stack!r}",
                "deploy it with: inv up --runtime swarm",
            )
        for name in names or ():
            if name not in services:
                raise OutOfReach(f"no service {name!r}", f"available: {', '.join(services)}")
        return {name: services[name] for name in services if names is None or name in names}

    def tasks(self, service: Service) -> list[Task]:
        """Return a service's tasks, including the past ones that Swarm keeps for each slot."""
        with engine.errors():
            return list(self.client.tasks(filters={"service": service["ID"]}))

    def nodes(self) -> dict[str, Node]:
        """Return the swarm's nodes by id."""
        with engine.errors():
            return {
                node["ID"]: Node(
                    node["Description"]["Hostname"],
                    _address(node),
                    node["Status"]["State"] == "ready",
                )
                for node in self.client.nodes()
            }

    def update(self, name: str, change: Callable[[dict[str, Any]], None]) -> None:
        """Apply `change` to a service's spec and send it; Swarm follows its update policy."""
        service = self.services([name])[name]
        spec = dict(service["Spec"])
        change(spec)
        # The SDK's own call rebuilds the spec, and drops the keys that it does not support.
        url = f"{self.client.base_url}/v{self.client.api_version}/services/{service['ID']}/update"
        with engine.errors():
            response = self.client.post(
                url,
                params={"version": service["Version"]["Index"]},
                json=spec,
                timeout=engine.TIMEOUT,
            )
        if response.status_code != 200:
            message = response.json()["message"]
            raise OutOfReach(f"Docker returned an error: {message}", "run it again")


def _address(node: Mapping[str, Any]) -> str:
    """Return the address of a node's published ports."""
    address = str(node["Status"].get("Addr") or "")
    # A manager may list its own address only as that of a manager.
    if address in ("", "0.0.0.0", "127.0.0.1"):  # noqa: S104
        address = str(node.get("ManagerStatus", {}).get("Addr", "")).rpartition(":")[0]
    return address or "127.0.0.1"
