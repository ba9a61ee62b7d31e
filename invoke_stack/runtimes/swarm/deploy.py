"""Deploying a stack, and taking it away."""

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

OVERRIDES = "deploy/swarm.yml"  # read on top of the Compose files, where there is one
SCALED = "ops.scaled"  # the label of a service that `inv scale` has given this many replicas
HOME = "ops.data"  # the label of the node that keeps the data
GONE_WITHIN = 180  # seconds


class Deployment:
    """The stack as it is deployed on the swarm of a manager."""

    def __init__(self, client: APIClient, project: Project, label: str) -> None:
        self.client = client
        self.project = project
        self.label = label

    def derive(self) -> StackFile:
        """What `deploy` would deploy now."""
        return self._derive(self._model())

    def services(self) -> tuple[str, ...]:
        """Return the names of the services that `deploy` would deploy."""
        return tuple(self.project.services(self._files()))

    def deploy(self, *, build: bool, prune: bool, say: Say) -> None:
        """Deploy what the Compose files and `.env` say; returns once Swarm has accepted it.

        With `prune`, the stack's other services are removed.
        """
        model = self._model()
        self._build(model, build, say)
        made = self._derive(model)
        self._choose_home(made, say)
        for what in sorted({entry.partition(": ")[2] for entry in made.lost}):
            say(f"note: Swarm has no {what}; see docs/scaling.md")
        say(f"docker stack deploy {self.project.name}")
        with tempfile.TemporaryDirectory() as folder:  # for its owner only
            for name, value in made.secrets.items():
                (Path(folder) / name).write_text(value, "utf-8")
            (Path(folder) / "stack.json").write_text(json.dumps(made.content), "utf-8")
            self._docker(
                *("stack", "deploy", "--resolve-image", "never", *(["--prune"] if prune else [])),
                *("--compose-file", "stack.json", self.project.name),
                folder=folder,
                without=_variables(made),
            )

    def remove(self, *, kept: Collection[str], volumes: Sequence[str] | None, say: Say) -> None:
        """Remove the stack and these volumes, but not the services `kept`, nor what those use.

        `volumes` is None if its data stays. Returns once its containers are gone, as far as Swarm
        knows.
        """
        ours = {"label": self.label}
        names = {f"{self.project.name}_{name}" for name in kept}
        with engine.errors():
            services = self.client.services(filters=ours)
            for service in services:
                if service["Spec"]["Name"] not in names:
                    say(f"removing {service['Spec']['Name']}")
                    self.client.remove_service(service["ID"])
            ids = {each["ID"] for each in services if each["Spec"]["Name"] in names}
            until = time.monotonic() + GONE_WITHIN
            while self._has_containers(without=ids):
                if time.monotonic() > until:
                    raise NotHealthy("the stack's containers do not end", "see: docker node ls")
                time.sleep(0.2)
            if not kept:
                for secret in self.client.secrets(filters=ours):
                    self.client.remove_secret(secret["ID"])
                for config in self.client.configs(filters=ours):
                    self.client.remove_config(config["ID"])
                for network in self.client.networks(filters=ours):
                    self.client.remove_network(network["Id"])
            for volume in volumes or ():
                self.client.remove_volume(volume)
            if volumes is not None and len(self.client.nodes()) > 1:
                say("volumes were removed on the node that answers; other nodes keep theirs")

    def _has_containers(self, without: Collection[str]) -> bool:
        """Return True if the stack has tasks or containers of services other than these (ids)."""
        ours = {"label": self.label}
        containers = self.client.containers(all=True, filters=ours)
        owners = [each["ServiceID"] for each in self.client.tasks(filters=ours)]
        owners += [each["Labels"].get("com.docker.swarm.service.id") for each in containers]
        return any(owner not in without for owner in owners)

    def _files(self) -> list[Path]:
        files = self.project.files()
        overrides = self.project.root / OVERRIDES
        return [*files, overrides] if overrides.is_file() else files

    def _model(self) -> dict[str, Any]:
        told = self.project.compose(["config", "--format", "json"], files=self._files())
        return dict(json.loads(told))

    def _derive(self, model: Mapping[str, Any]) -> StackFile:
        images = {}
        with engine.errors():
            for image in {service["image"] for service in model["services"].values()}:
                if found := self.client.images(image, quiet=True):
                    images[image] = found[0]
            services = self.client.services(filters={"label": self.label})
        cut = len(self.project.name) + 1
        scaled = {
            each["Spec"]["Name"][cut:]: int(each["Spec"]["Labels"][SCALED])
            for each in services
            if SCALED in each["Spec"]["Labels"]
        }
        file = read_env_file(self.project.root / ".env", os.environ)
        variables = file | dict(os.environ)  # as Compose has it
        made = derive(model, variables, replicas=scaled, images=images)
        for service in made.content["services"].values():
            service["deploy"]["labels"][FOLDER] = str(self.project.folder)
        for name, count in scaled.items():
            if name in made.content["services"]:
                made.content["services"][name]["deploy"]["labels"][SCALED] = str(count)
        return made

    def _build(self, model: Mapping[str, Any], everything: bool, say: Say) -> None:
        with engine.errors():
            wanted = [
                name
                for name, service in model["services"].items()
                if service.get("build")
                and (everything or not self.client.images(service["image"], quiet=True))
            ]
            nodes = len(self.client.nodes())
        if not wanted:
            return
        say(f"docker compose build {' '.join(wanted)}")
        self.project.compose(["build", *wanted], show=True)
        if nodes > 1:
            say("built on the node that answers; the others need the images too: docs/scaling.md")

    def _choose_home(self, made: StackFile, say: Say) -> None:
        """Mark this node as the one that keeps the data, where that is asked for and none is."""
        wanted = f"node.labels.{HOME} == true"
        placements = [
            service["deploy"].get("placement", {}).get("constraints", ())
            for service in made.content["services"].values()
        ]
        if not any(wanted in constraints for constraints in placements):
            return
        with engine.errors():
            nodes = self.client.nodes()
            if any(each["Spec"].get("Labels", {}).get(HOME) == "true" for each in nodes):
                return
            own = self.client.info()["Swarm"]["NodeID"]
            (node,) = [each for each in nodes if each["ID"] == own]
            spec = node["Spec"] | {"Labels": {**node["Spec"].get("Labels", {}), HOME: "true"}}
            self.client.update_node(own, node["Version"]["Index"], spec)
        say(f"the data lives on {node['Description']['Hostname']} (its label {HOME}=true)")

    def _docker(self, *words: str, folder: str = "", without: frozenset[str] = frozenset()) -> None:
        environ = {name: value for name, value in os.environ.items() if name not in without}
        try:
            result = subprocess.run(
                ["docker", *words],
                cwd=folder or self.project.root,
                env=environ,
                capture_output=True,
                text=True,
            )
        except FileNotFoundError:
            raise OutOfReach("the command `docker` is not installed", "install it") from None
        if result.returncode:
            last = result.stderr.strip().splitlines()[-1:]
            raise NotHealthy(f"docker {words[0]} {words[1]} failed: {' '.join(last)}", "mend that")


def _variables(made: StackFile) -> frozenset[str]:
    """The variables of the services. `docker stack deploy` would fill empty ones from its own."""
    return frozenset(
        name
        for service in made.content["services"].values()
        for name in service.get("environment", {})
    )
