"""Deploys a stack to a swarm, and removes it."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke_stack.config import read_env_file
from invoke_stack.errors import NotHealthy, OutOfReach
from invoke_stack.runtimes.base import Say
from invoke_stack.runtimes.docker import engine
from invoke_stack.runtimes.docker.project import Project
from invoke_stack.runtimes.swarm.stackfile import FOLDER, StackFile, derive

if TYPE_CHECKING:
    from docker import APIClient

OVERRIDES = "deploy/swarm.yml"  # optional; read after the Compose files
SCALED = "ops.scaled"  # label of a service: the replicas set by `inv scale`
DATA_NODE = "ops.data"  # label of the node that keeps the data
REMOVE_TIMEOUT = 180  # seconds until all containers have stopped


class Deployment:
    """Deploys and removes one stack, through a swarm manager."""

    def __init__(self, client: APIClient, project: Project, label: str) -> None:
        self.client = client
        self.project = project
        self.label = label

    def derive(self) -> StackFile:
        """Return the stack file that `deploy` would deploy now."""
        return self._derive(self._model())

    def services(self) -> tuple[str, ...]:
        """Return the names of the services that `deploy` deploys."""
        return tuple(self.project.services(self._files()))

    def deploy(self, *, build: bool, prune: bool, say: Say) -> None:
        """Deploy the Compose files and `.env`; return once Swarm has accepted the stack.

        With `prune`, the stack's other services are removed.
        """
        model = self._model()
        self._build(model, build, say)
        stack_file = self._derive(model)
        self._label_data_node(stack_file, say)
        for key in sorted({entry.partition(": ")[2] for entry in stack_file.unsupported}):
            say(f"notice: Swarm does not support {key}; see docs/scaling.md")
        say(f"running: docker stack deploy {self.project.name}")
        with tempfile.TemporaryDirectory() as folder:  # readable by its owner only
            for name, value in stack_file.secrets.items():
                (Path(folder) / name).write_text(value, "utf-8")
            (Path(folder) / "stack.json").write_text(json.dumps(stack_file.content), "utf-8")
            self._docker(
                *("stack", "deploy", "--resolve-image", "never", *(["--prune"] if prune else [])),
                *("--compose-file", "stack.json", self.project.name),
                folder=folder,
                unset=_variables(stack_file),
            )

    def remove(self, *, keep: Collection[str], volumes: Sequence[str] | None, say: Say) -> None:
        """Remove the stack and these volumes, but not the services in `keep` nor what they use.

        `volumes` is None if the data stays. Returns once Swarm reports no more containers.
        """
        filters = {"label": self.label}
        names = {f"{self.project.name}_{name}" for name in keep}
        with engine.errors():
            services = self.client.services(filters=filters)
            for service in services:
                if service["Spec"]["Name"] not in names:
                    say(f"removing {service['Spec']['Name']}")
                    self.client.remove_service(service["ID"])
            ids = {service["ID"] for service in services if service["Spec"]["Name"] in names}
            deadline = time.monotonic() + REMOVE_TIMEOUT
            while self._has_containers(except_of=ids):
                if time.monotonic() > deadline:
                    raise NotHealthy(
                        f"containers of the stack still exist after {REMOVE_TIMEOUT} s",
                        "see: docker node ls",
                    )
                time.sleep(0.2)
            if not keep:
                for secret in self.client.secrets(filters=filters):
                    self.client.remove_secret(secret["ID"])
                for config in self.client.configs(filters=filters):
                    self.client.remove_config(config["ID"])
                for network in self.client.networks(filters=filters):
                    self.client.remove_network(network["Id"])
            for volume in volumes or ():
                self.client.remove_volume(volume)
            if volumes is not None and len(self.client.nodes()) > 1:
                say("volumes were removed only on the connected node; other nodes keep theirs")

    def _has_containers(self, except_of: Collection[str]) -> bool:
        """Return True if other services than these (ids) have tasks or containers."""
        filters = {"label": self.label}
        containers = self.client.containers(all=True, filters=filters)
        owners = [task["ServiceID"] for task in self.client.tasks(filters=filters)]
        owners += [each["Labels"].get("com.docker.swarm.service.id") for each in containers]
        return any(owner not in except_of for owner in owners)

    def _files(self) -> list[Path]:
        files = self.project.files()
        overrides = self.project.root / OVERRIDES
        return [*files, overrides] if overrides.is_file() else files

    def _model(self) -> dict[str, Any]:
        output = self.project.compose(["config", "--format", "json"], files=self._files())
        return dict(json.loads(output))

    def _derive(self, model: Mapping[str, Any]) -> StackFile:
        images = {}
        with engine.errors():
            for image in {service["image"] for service in model["services"].values()}:
                if ids := self.client.images(image, quiet=True):
                    images[image] = ids[0]
            services = self.client.services(filters={"label": self.label})
        prefix = len(self.project.name) + 1
        scaled = {
            service["Spec"]["Name"][prefix:]: int(service["Spec"]["Labels"][SCALED])
            for service in services
            if SCALED in service["Spec"]["Labels"]
        }
        env_file = read_env_file(self.project.root / ".env", os.environ)
        variables = env_file | dict(os.environ)  # the precedence of Compose
        stack_file = derive(model, variables, replicas=scaled, images=images)
        services_by_name = stack_file.content["services"]
        for service in services_by_name.values():
            service["deploy"]["labels"][FOLDER] = str(self.project.folder)
        for name, count in scaled.items():
            if name in services_by_name:
                services_by_name[name]["deploy"]["labels"][SCALED] = str(count)
        return stack_file

    def _build(self, model: Mapping[str, Any], build_all: bool, say: Say) -> None:
        with engine.errors():
            names = [
                name
                for name, service in model["services"].items()
                if service.get("build")
                and (build_all or not self.client.images(service["image"], quiet=True))
            ]
            nodes = len(self.client.nodes())
        if not names:
            return
        say(f"docker compose build {' '.join(names)}")
        self.project.compose(["build", *names], show_output=True)
        if nodes > 1:
            say("built on the connected node; the other nodes need the images too: docs/scaling.md")

    def _label_data_node(self, stack_file: StackFile, say: Say) -> None:
        """Label the connected node as the one that keeps the data, if a service needs one."""
        constraint = f"node.labels.{DATA_NODE} == true"
        placements = [
            service["deploy"].get("placement", {}).get("constraints", ())
            for service in stack_file.content["services"].values()
        ]
        if not any(constraint in constraints for constraints in placements):
            return
        with engine.errors():
            nodes = self.client.nodes()
            if any(node["Spec"].get("Labels", {}).get(DATA_NODE) == "true" for node in nodes):
                return
            node_id = self.client.info()["Swarm"]["NodeID"]
            (node,) = [each for each in nodes if each["ID"] == node_id]
            spec = node["Spec"] | {"Labels": {**node["Spec"].get("Labels", {}), DATA_NODE: "true"}}
            self.client.update_node(node_id, node["Version"]["Index"], spec)
        say(f"keeping the data on {node['Description']['Hostname']} (node label {DATA_NODE}=true)")

    def _docker(
        self, *arguments: str, folder: str = "", unset: frozenset[str] = frozenset()
    ) -> None:
        environ = {name: value for name, value in os.environ.items() if name not in unset}
        try:
            result = subprocess.run(
                ["docker", *arguments],
                cwd=folder or self.project.root,
                env=environ,
                capture_output=True,
                text=True,
            )
        except FileNotFoundError:
            raise OutOfReach(
                "the command `docker` is not installed", "install Docker's command-line client"
            ) from None
        if result.returncode:
            last = result.stderr.strip().splitlines()[-1:]
            command = f"docker {arguments[0]} {arguments[1]}"
            raise NotHealthy(f"{command} failed: {' '.join(last)}", "fix that, then run it again")


def _variables(stack_file: StackFile) -> frozenset[str]:
    """Return the variables of the services; `docker stack deploy` would replace empty values."""
    return frozenset(
        name
        for service in stack_file.content["services"].values()
        for name in service.get("environment", {})
    )
