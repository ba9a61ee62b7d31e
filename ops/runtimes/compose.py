"""The `compose` runtime: a Compose project on a Docker Engine.

Containers are found by the labels that Compose gives them, whatever their names, and whichever
files they came from. `docker compose` itself is called for `up`, `down` and builds alone.
"""

from __future__ import annotations

import functools
import json
import os
import re
import secrets
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ops import health
from ops.config import Config, read_env_file
from ops.errors import BadInput, NotHealthy, OpsError, OutOfReach
from ops.model import Answer, LogLine, Replica
from ops.runtime import Say
from ops.runtimes import engine, engine_logs, pipes

if TYPE_CHECKING:
    from docker import APIClient

_LABEL = "com.docker.compose"
_SECRETS = ("POSTGRES_PASSWORD", "REDIS_PASSWORD")


class ComposeRuntime:
    """Implements `ops.runtime.Runtime` on the engine that the `docker` command would use."""

    name = "compose"

    def __init__(self, config: Config) -> None:
        self.config = config
        self.project = project_name(config.root, {**config.variables, **os.environ})

    @functools.cached_property
    def client(self) -> APIClient:
        return engine.connect()

    @functools.cached_property
    def node(self) -> str:
        return engine.node_name(self.client)

    # What is there

    def is_up(self) -> bool:
        try:
            return any(container["State"] == "running" for container in self._containers())
        except OpsError:
            return False

    def lacks(self) -> str:
        """What stands in the way of `up` here, in a few words; empty if nothing does.

        Raises `OutOfReach` when no engine answers. Images that are not there are looked for in
        their registries, which takes a moment.
        """
        _ = self.client
        if not compose_files(self.config.root, os.environ):
            return "there is no Compose file"
        for image in self._images():
            with engine.errors():
                if self.client.images(image, quiet=True):
                    continue
            try:
                with engine.errors():
                    self.client.inspect_distribution(image)
            except OutOfReach:
                return f"an engine answers, but the image {image} cannot be had"
        return ""

    def _images(self) -> list[str]:
        """The images that `up` needs: those of the services, or what their builds begin from."""
        wanted = []
        for service in self._model().values():
            build = service.get("build")
            if not build:
                wanted.append(_default_of(service["image"]))
                continue
            file = Path(build["context"]) / build.get("dockerfile", "Dockerfile")
            stages = re.findall(r"^FROM (\S+)(?: AS (\S+))?", file.read_text("utf-8"), re.M)
            names = {alias for _, alias in stages}
            wanted += [image for image, _ in stages if image not in names]
        # Images that are built here have no registry.
        return [image for image in dict.fromkeys(wanted) if not image.startswith("deal-scout-")]

    def _model(self) -> Mapping[str, Any]:
        """The services as the project's files describe them, whatever the variables are."""
        words = ("config", "--format", "json", "--no-interpolate")
        return dict(json.loads(self._compose(words))["services"])

    def services(self) -> tuple[str, ...]:
        names = [_service(container) for container in self._containers()]
        return tuple(dict.fromkeys(names))

    def wanted(self) -> tuple[str, ...]:
        _ = self.client  # an engine that is away is told first
        return tuple(self._model())

    def replicas(self, service: str | None = None, *, probe: bool = True) -> list[Replica]:
        found = self._of([service] if service else None)
        with engine.errors(), ThreadPoolExecutor(8) as pool:
            inspected = list(pool.map(self.client.inspect_container, [c["Id"] for c in found]))
        replicas = [
            engine.replica_of(each, _service(container), self._replica(container, found), self.node)
            for container, each in zip(found, inspected, strict=True)
        ]
        return engine.remember_memory(self.client, replicas)

    def get(self, replica: Replica, path: str, timeout: float) -> Answer:
        if replica.ports:
            return health.fetch(f"http://{replica.ports[0]}{path}", timeout)
        try:
            with engine.errors():
                inspected = self.client.inspect_container(replica.identity)
            address = self._address(inspected)
            if address and engine.is_reachable_by_address(self.client):
                return health.fetch(f"http://{address}{path}", timeout)
            return self._get_inside(inspected, path, timeout)
        except OpsError as error:
            return Answer("", None, {}, 0.0, error.message)

    def logs(
        self,
        services: Sequence[str],
        *,
        tail: int | None,
        since: str | None,
        follow: bool,
        say: Say,
    ) -> Iterator[LogLine | None]:
        def sources() -> list[engine_logs.Source]:
            found = self._of(services)
            return [self._source(container, found) for container in found]

        if follow:
            return engine_logs.follow(self.client, sources, tail=tail, since=since, say=say)
        return engine_logs.history(self.client, sources(), tail=tail, since=since)

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

    def up(self, *, build: bool, say: Say) -> None:
        _ = self.client  # without an engine, nothing is written
        self._write_env(say)
        words = ["up", "--detach", "--remove-orphans", *(["--build"] if build else [])]
        say(f"docker compose {' '.join(words)}")
        self._compose(words, show=True)

    def down(self, *, volumes: bool, say: Say) -> None:
        words = ["down", "--remove-orphans", *(["--volumes"] if volumes else [])]
        say(f"docker compose {' '.join(words)}")
        self._compose(words, show=True)

    def execute(self, service: str, words: Sequence[str], timeout: float) -> str:
        code, said, wrong = self._run_inside(self._running(service)["Id"], list(words))
        if code:
            last = (wrong or said).strip().splitlines()[-1:]
            raise OutOfReach(f"`{shlex.join(words)}` failed: {' '.join(last)}", "see: inv logs")
        return said

    def pipe(
        self,
        service: str,
        words: Sequence[str],
        *,
        source: BinaryIO | None = None,
        sink: BinaryIO | None = None,
    ) -> None:
        # The SDK offers no input that is portable: a socket whose kind depends on the platform.
        command = ("docker", "exec", "--interactive", self._running(service)["Id"], *words)
        pipes.run(command, source=source, sink=sink)

    def main_command(self, replica: Replica) -> str:
        return engine.main_command(self.client, replica.identity)

    def ports(self) -> dict[str, tuple[int, ...]]:
        services = json.loads(self._compose(["config", "--format", "json"]))["services"]
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
            expected = self._compose(["config", "--hash", service]).split()[-1:]
            if expected and expected[0] != container["Labels"].get(f"{_LABEL}.config-hash"):
                return "docker-compose.yml or .env has changed since it was created"
        return ""

    # Containers

    def _containers(self) -> list[dict[str, Any]]:
        """Compose's containers of the project, each behind those that it depends on."""
        labels = [f"{_LABEL}.project={self.project}", f"{_LABEL}.oneoff=False"]
        with engine.errors():
            found = self.client.containers(all=True, filters={"label": labels})
        needs = {_service(container): _dependencies(container) for container in found}
        return sorted(found, key=lambda c: (_depth(_service(c), needs), _service(c), _number(c)))

    def _of(self, services: Sequence[str] | None) -> list[dict[str, Any]]:
        every = self._containers()
        if not every:
            raise OutOfReach(
                f"the stack is not up: no containers of the project {self.project!r}",
                "start it with: inv up",
            )
        names = list(dict.fromkeys(_service(container) for container in every))
        for service in services or ():
            if service not in names:
                raise OutOfReach(f"no service {service!r}", f"there are: {', '.join(names)}")
        return [c for c in every if services is None or _service(c) in services]

    def _running(self, service: str) -> dict[str, Any]:
        """One of a service's running containers."""
        for container in self._of([service]):
            if container["State"] == "running":
                return container
        raise OutOfReach(f"{service} does not run", "start it with: inv up")

    def _replica(self, container: Mapping[str, Any], among: Sequence[Mapping[str, Any]]) -> str:
        """A replica's name: that of its service, with its number when there are several."""
        service = _service(container)
        several = sum(_service(each) == service for each in among) > 1
        return f"{service}-{_number(container)}" if several else service

    def _source(
        self, container: Mapping[str, Any], among: Sequence[Mapping[str, Any]]
    ) -> engine_logs.Source:
        with engine.errors():
            inspected = self.client.inspect_container(container["Id"])
        return engine_logs.Source(
            identity=container["Id"],
            service=_service(container),
            replica=self._replica(container, among),
            node=self.node,
            tty=inspected["Config"]["Tty"],
            running=inspected["State"]["Running"],
            started=inspected["State"]["StartedAt"],
        )

    # A replica without a published port

    def _address(self, inspected: Mapping[str, Any]) -> str:
        networks = (inspected["NetworkSettings"].get("Networks") or {}).values()
        addresses = [network["IPAddress"] for network in networks if network.get("IPAddress")]
        return f"{addresses[0]}:{_port(inspected)}" if addresses else ""

    def _get_inside(self, inspected: Mapping[str, Any], path: str, timeout: float) -> Answer:
        """Ask from inside the container, with the wget that it has for its own probe."""
        import time

        url = f"http://127.0.0.1:{_port(inspected)}{path}"
        words = ["wget", "-S", "-nv", "-O", "-", "--content-on-error", "-T", f"{timeout:g}", url]
        start = time.perf_counter()
        _, said, wrong = self._run_inside(inspected["Id"], words)
        status = re.findall(r"HTTP/1\.\d (\d+)", wrong)
        try:
            body = json.loads(said)
        except ValueError:
            body = {}
        problem = "" if status else (wrong.strip().splitlines() or ["no answer"])[-1]
        code = int(status[-1]) if status else None
        return Answer(url, code, body, time.perf_counter() - start, problem)

    def _run_inside(self, identity: str, words: list[str]) -> tuple[int, str, str]:
        with engine.errors():
            made = self.client.exec_create(identity, words)
            said, wrong = self.client.exec_start(made["Id"], demux=True)
            code = self.client.exec_inspect(made["Id"])["ExitCode"]
        return (
            code or 0,
            (said or b"").decode("utf-8", "replace"),
            (wrong or b"").decode("utf-8", "replace"),
        )

    # docker compose

    def _compose(self, words: Sequence[str], *, show: bool = False) -> str:
        """Run `docker compose`; its progress goes to stderr if `show`."""
        if not shutil.which("docker"):
            raise OutOfReach(
                "the command `docker` is not installed", "install Docker with its Compose plugin"
            )
        result = subprocess.run(
            ["docker", "compose", *words],
            cwd=self.config.root,
            env=os.environ | {"COMPOSE_PROJECT_NAME": self.project},
            stdout=2 if show else subprocess.PIPE,
            stderr=None if show else subprocess.PIPE,
            text=True,
        )
        if result.returncode:
            said = (result.stderr or "").strip()
            last = said.splitlines()[-1:]
            if "is not a docker command" in said or "unknown command: docker compose" in said:
                raise OutOfReach("Docker has no Compose plugin", "install docker-compose-plugin")
            raise NotHealthy(
                f"docker compose {words[0]} failed" + "".join(f": {line}" for line in last),
                "its own words are above" if show else "try it by hand",
            )
        return result.stdout or ""

    def _write_env(self, say: Say) -> None:
        """A first `.env`: the example with secrets filled in, for its owner only."""
        target, example = self.config.root / ".env", self.config.root / ".env.example"
        if target.exists() or not example.exists():
            return
        with engine.errors():
            label = f"{_LABEL}.project={self.project}"
            kept = self.client.volumes(filters={"label": label})["Volumes"]
        if kept:
            raise OutOfReach(
                f".env is missing, and it held the passwords of the data in {kept[0]['Name']}",
                "restore it, or start anew without the data: inv down --volumes",
            )
        text = example.read_text("utf-8")
        for name in _SECRETS:
            text = re.sub(rf"^{name}=$", f"{name}={secrets.token_urlsafe(24)}", text, flags=re.M)
        new = target.with_name(".env.new")
        new.touch(mode=0o600)
        new.write_text(text, "utf-8")
        new.replace(target)
        say("wrote .env with new secrets (only you can read it)")


def _default_of(image: str) -> str:
    """An image's name with the defaults of its variables: `x:${TAG:-latest}` is `x:latest`."""
    return re.sub(r"\$\{\w+:?-([^}]*)\}", r"\1", image)


def _service(container: Mapping[str, Any]) -> str:
    return str(container["Labels"][f"{_LABEL}.service"])


def _dependencies(container: Mapping[str, Any]) -> list[str]:
    listed = container["Labels"].get(f"{_LABEL}.depends_on", "")
    return [entry.partition(":")[0] for entry in listed.split(",") if entry]


def _depth(service: str, needs: Mapping[str, Sequence[str]]) -> int:
    """How many services must start before this one, one after the other."""
    return 1 + max((_depth(each, needs) for each in needs.get(service, ())), default=-1)


def _number(container: Mapping[str, Any]) -> int:
    return int(container["Labels"].get(f"{_LABEL}.container-number", 1))


def _port(inspected: Mapping[str, Any]) -> int:
    """The port that the container's process listens on: its PORT, else what the image exposes."""
    for setting in inspected["Config"].get("Env") or ():
        name, _, value = setting.partition("=")
        if name == "PORT" and value.isdigit():
            return int(value)
    exposed = sorted(inspected["Config"].get("ExposedPorts") or {"80/tcp": {}})
    return int(exposed[0].partition("/")[0])


def project_name(root: Path, environ: Mapping[str, str]) -> str:
    """The project's name by Compose's own rules: COMPOSE_PROJECT_NAME, `name:`, the folder's."""
    # A line that cannot be read is for whoever loads the configuration to tell.
    in_file = read_env_file(root / ".env", environ, lambda _: None)
    if name := environ.get("COMPOSE_PROJECT_NAME") or in_file.get("COMPOSE_PROJECT_NAME"):
        return name
    for file in reversed(compose_files(root, environ)):
        if file.is_file():
            named = re.search(r"^name:\s*[\"']?([a-z0-9_-]+)", file.read_text("utf-8"), re.M)
            if named:
                return named[1]
    name = re.sub(r"[^a-z0-9_-]", "", root.name.lower()).lstrip("_-")
    if not name:
        raise BadInput(
            f"the folder's name {root.name!r} cannot be a project's",
            "set COMPOSE_PROJECT_NAME=NAME",
        )
    return name


def compose_files(root: Path, environ: Mapping[str, str]) -> list[Path]:
    """The files that Compose would read: those of COMPOSE_FILE, else the first usual name."""
    listed = environ.get("COMPOSE_FILE", "")
    if listed:
        separator = environ.get("COMPOSE_PATH_SEPARATOR", os.pathsep)
        return [root / name for name in listed.split(separator)]
    usual = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
    return [root / name for name in usual if (root / name).exists()][:1]
