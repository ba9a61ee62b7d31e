"""What a manager tells of a stack: its services, their tasks, the nodes; and changing a service."""

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
    """A swarm, as far as one stack is concerned. Every method raises `OutOfReach`."""

    def __init__(self, client: APIClient, project: Project, label: str) -> None:
        self.client = client
        self.project = project
        self.stack = project.name
        self.label = label

    @functools.cached_property
    def node_id(self) -> str:
        """The node that answers: what runs there can be looked into."""
        with engine.errors():
            return str(self.client.info()["Swarm"]["NodeID"])

    def every(self) -> dict[str, Service]:
        """The stack's services by name, in the order they start.

        Raises `OtherCheckout` if they are those of another one.
        """
        with engine.errors():
            found = self.client.services(filters={"label": self.label})
        folders = [each["Spec"]["Labels"].get(FOLDER, "") for each in found]
        self.project.refuse_other_checkout(folders, self.client)
        found.sort(key=lambda each: int(each["Spec"]["Labels"].get(POSITION, 0)))
        cut = len(self.stack) + 1
        return {each["Spec"]["Name"][cut:]: each for each in found}

    def has_data(self) -> bool:
        """Return True if the stack has left volumes, on the node that answers, or secrets."""
        filters = {"label": self.label}
        with engine.errors():
            volumes = self.client.volumes(filters=filters)["Volumes"]
            return bool(volumes or self.client.secrets(filters=filters))

    def services(self, services: Sequence[str] | None) -> dict[str, Service]:
        """These services, or all; an unknown one is an error that names those that there are."""
        listed = self.every()
        if not listed:
            raise OutOfReach(
                f"the stack is not up: the swarm has no stack {self.stack!r}",
                "deploy it with: inv up --runtime swarm",
            )
        for service in services or ():
            if service not in listed:
                raise OutOfReach(f"no service {service!r}", f"there are: {', '.join(listed)}")
        return {name: listed[name] for name in listed if services is None or name in services}

    def tasks(self, service: Service) -> list[Task]:
        """A service's tasks, with the few past ones of each slot that Swarm remembers."""
        with engine.errors():
            return list(self.client.tasks(filters={"service": service["ID"]}))

    def nodes(self) -> dict[str, Node]:
        """The swarm's machines by their ids."""
        with engine.errors():
            return {
                each["ID"]: Node(
                    each["Description"]["Hostname"],
                    _address(each),
                    each["Status"]["State"] == "ready",
                )
                for each in self.client.nodes()
            }

    def update(self, service: str, change: Callable[[dict[str, Any]], None]) -> None:
        """Change a service's specification in place; its update policy does the rest."""
        known = self.services([service])[service]
        spec = dict(known["Spec"])
        change(spec)
        # The SDK's own call rebuilds the specification, and loses what it does not know.
        url = f"{self.client.base_url}/v{self.client.api_version}/services/{known['ID']}/update"
        with engine.errors():
            answer = self.client.post(
                url,
                params={"version": known["Version"]["Index"]},
                json=spec,
                timeout=engine.TIMEOUT,
            )
        if answer.status_code != 200:
            raise OutOfReach(f"Docker refused: {answer.json()['message']}", "try it again")


def _address(node: Mapping[str, Any]) -> str:
    """Where a node's ports are reached. A manager may not know its own but as a manager's."""
    address = str(node["Status"].get("Addr") or "")
    if address in ("", "0.0.0.0", "127.0.0.1"):  # noqa: S104
        address = str(node.get("ManagerStatus", {}).get("Addr", "")).rpartition(":")[0]
    return address or "127.0.0.1"
