"""The pods of the trial overlay, run as containers on a Docker Engine.

There is no cluster, so `Pods` does the work of the kubelet: variables, users, volumes, probes and
termination.
"""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack

import httpx
import pytest

from harness import dockerized
from harness.dockerized import Container, build_image, docker, get
from harness.servers import wait_until
from tests.integration.kubernetes.manifests import Manifests, Object, build

pytestmark = pytest.mark.engine

NAMESPACE = "deal-scout-trial"


class Pods:
    """A container for each workload, all in one network."""

    def __init__(self, manifests: Manifests, stack: ExitStack) -> None:
        self.manifests = manifests
        self.name = f"{dockerized.RUN}-{uuid.uuid4().hex[:4]}"
        self._stack = stack
        docker("network", "create", self.name)
        stack.callback(docker, "network", "rm", self.name, ok=False)
        self.running = {
            container["name"]: stack.enter_context(self._start(pod, container))
            for pod, container in manifests.containers()
        }

    def _start(self, pod: Object, container: Object) -> AbstractContextManager[Container]:
        name, image = container["name"], container["image"]
        environment = self._environment(container)
        command = [_expand(argument, environment) for argument in container.get("command", [])]
        ours = name in ("backend", "worker", "beat", "frontend")
        return dockerized.container(
            build_image(image.removeprefix("deal-scout-")) if ours else image,
            *("--network", self.name, "--network-alias", name),
            *("--network-alias", f"{name}.{NAMESPACE}.svc.cluster.local"),
            *(f"--env={key}={value}" for key, value in environment.items()),
            *(
                f"--publish=127.0.0.1::{port['containerPort']}"
                for port in container.get("ports", [])
            ),
            *_security(pod, container),
            *(self._mount(pod, mount) for mount in container["volumeMounts"]),
            *(["--init"] if pod.get("shareProcessNamespace") else []),
            *(["--entrypoint", command[0]] if command else []),
            command=tuple(command[1:]),
        )

    def _mount(self, pod: Object, mount: Object) -> str:
        for volume in pod["volumes"]:
            if volume["name"] == mount["name"]:
                size = volume["emptyDir"]["sizeLimit"].removesuffix("i").lower()
                return f"--tmpfs={mount['mountPath']}:mode=0777,size={size}"
        # A volume claim: owned by root, writable for fsGroup.
        claim, group = f"{self.name}-{uuid.uuid4().hex[:4]}", pod["securityContext"]["fsGroup"]
        self._stack.callback(docker, "volume", "rm", "--force", claim, ok=False)
        prepare = f"chown 0:{group} /volume && chmod 2775 /volume"
        as_root = ("--user", "0:0", "--entrypoint", "sh", "--volume", f"{claim}:/volume")
        docker("run", "--rm", *as_root, "redis:7", "-c", prepare)
        return f"--volume={claim}:{mount['mountPath']}:nocopy"

    def _environment(self, container: Object) -> dict[str, str]:
        config = self.manifests.get("ConfigMap", "deal-scout")["data"]
        secret = {
            name: base64.b64decode(value).decode()
            for name, value in self.manifests.get("Secret", "deal-scout")["data"].items()
        }
        environment = config | secret if "envFrom" in container else {}
        for entry in container.get("env", []):
            source = entry.get("valueFrom", {})
            if "configMapKeyRef" in source:
                environment[entry["name"]] = config[source["configMapKeyRef"]["key"]]
            elif "secretKeyRef" in source:
                environment[entry["name"]] = secret[source["secretKeyRef"]["key"]]
            elif "fieldRef" in source:
                environment[entry["name"]] = NAMESPACE
            else:
                environment[entry["name"]] = _expand(entry["value"], environment)
        return environment

    def has_passing_probe(self, name: str, kind: str) -> bool:
        """Return True if a probe of a pod succeeds, or there is none."""
        probe = self.manifests.container(name).get(kind)
        if probe is None:
            return True
        if "exec" in probe:
            command = probe["exec"]["command"]
            return self.running[name].execute(*command, ok=False).returncode == 0
        response = get(self.url(name) + probe["httpGet"]["path"])
        return response is not None and response.is_success

    def url(self, name: str) -> str:
        return self.running[name].url(self.manifests.container(name)["ports"][0]["containerPort"])


def _expand(text: str, environment: dict[str, str]) -> str:
    """Expand $(NAME) of known variables, and $$ to $, as Kubernetes does."""
    return re.sub(
        r"\$\$|\$\(([\w.-]+)\)",
        lambda match: "$" if match[0] == "$$" else environment.get(match[1], match[0]),
        text,
    )


def _security(pod: Object, container: Object) -> list[str]:
    user, context = pod["securityContext"], container["securityContext"]
    assert context["readOnlyRootFilesystem"]
    return [
        *("--user", f"{user['runAsUser']}:{user['runAsGroup']}", "--read-only"),
        *(f"--cap-drop={name}" for name in context["capabilities"]["drop"]),
        *("--security-opt", "no-new-privileges"),
    ]


@pytest.fixture(scope="module")
def pods() -> Iterator[Pods]:
    dockerized.require_engine()
    with ExitStack() as stack:
        yield Pods(build("trial"), stack)


@pytest.mark.parametrize("name", dockerized.SERVICES)
def test_pod_becomes_ready(pods: Pods, name: str) -> None:
    container = pods.running[name]
    try:
        for kind in ("startupProbe", "readinessProbe"):
            wait_until(
                f"the {kind} of {name}", lambda kind=kind: pods.has_passing_probe(name, kind), 120
            )
    except AssertionError as error:
        raise AssertionError(f"{error}\n{container.logs()[-3000:]}") from None
    assert pods.has_passing_probe(name, "livenessProbe")
    assert container.inspect()["RestartCount"] == 0


def test_page_reaches_the_backend_by_its_full_name(pods: Pods) -> None:
    def is_ready() -> bool:
        response = httpx.get(f"{pods.url('frontend')}/api/ready", timeout=10, trust_env=False)
        return (response.status_code, response.json()["migrations"]) == (200, "current")

    wait_until("/api/ready of the page returns 200", is_ready)


@pytest.mark.parametrize("name", ["frontend", "beat", "worker", "backend"])
def test_pod_stops_within_its_grace_period(pods: Pods, name: str) -> None:
    container: Container = pods.running[name]
    (grace,) = (
        pod["terminationGracePeriodSeconds"]
        for pod, spec in pods.manifests.containers()
        if spec["name"] == name
    )
    hook = pods.manifests.container(name).get("lifecycle", {}).get("preStop")
    if hook:
        container.execute(*hook["exec"]["command"])
    container.stop(grace)
    assert container.inspect()["State"]["ExitCode"] != 137  # killed
