"""The manifests as built by `kubectl`, and the files that they must agree with."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.stacks import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"
SECRET = "p@ss/w:rd%#?"
VALUES = {
    "DATABASE_URL": "postgresql://scout:p%40ss%2Fw@db.example.com:5432/deal_scout?sslmode=verify-full",
    "REDIS_URL": "rediss://:p%40ss%2Fw@redis.example.com:6379/0",
    "POSTGRES_PASSWORD": SECRET,
    "REDIS_PASSWORD": SECRET,
}

Object = dict[str, Any]


@dataclass(frozen=True)
class Manifests:
    """The objects that `kubectl kustomize` builds from an overlay."""

    objects: tuple[Object, ...]

    def of(self, *kinds: str) -> Iterator[Object]:
        return (item for item in self.objects if item["kind"] in kinds)

    def get(self, kind: str, name: str) -> Object:
        """Return the object with this name, with or without the hash that kustomize appends."""
        (match,) = (
            item
            for item in self.of(kind)
            if re.fullmatch(rf"{name}(-[a-z0-9]{{10}})?", item["metadata"]["name"])
        )
        return match

    def workloads(self) -> Iterator[Object]:
        return self.of("Deployment", "StatefulSet")

    def containers(self) -> Iterator[tuple[Object, Object]]:
        """Yield each container of the workloads, with the spec of its pod."""
        for workload in self.workloads():
            pod = workload["spec"]["template"]["spec"]
            yield from ((pod, container) for container in pod["containers"])

    def container(self, name: str) -> Object:
        (match,) = (container for _, container in self.containers() if container["name"] == name)
        return match


def require_kubectl() -> None:
    """Skip the test without kubectl, or fail it if REQUIRE_KUBECTL is set."""
    if shutil.which("kubectl"):
        return
    problem = "no kubectl in PATH: install the package kubectl or kubernetes-client"
    if os.environ.get("REQUIRE_KUBECTL", "0") not in ("", "0"):
        pytest.fail(f"{problem} (and REQUIRE_KUBECTL is set)", pytrace=False)
    pytest.skip(problem)


@functools.cache
def build(overlay: str, *components: str, kustomization: str = "") -> Manifests:
    """Run `kubectl kustomize` on an overlay whose secrets are filled in.

    `components` are added to it, and `kustomization` is YAML that is merged into its own.
    """
    require_kubectl()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "kubernetes"
        shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("secret.env"))
        root = folder / "overlays" / overlay
        example = (root / "secret.env.example").read_text("utf-8")
        filled = re.sub(
            r"^([A-Z_]+)=$", lambda match: match[0] + VALUES[match[1]], example, flags=re.M
        )
        (root / "secret.env").write_text(filled, "utf-8")
        file = root / "kustomization.yaml"
        content = yaml.safe_load(file.read_text("utf-8")) | (yaml.safe_load(kustomization) or {})
        added = [f"../../components/{name}" for name in components]
        content["components"] = content.get("components", []) + added
        file.write_text(yaml.safe_dump(content), "utf-8")
        result = subprocess.run(
            ["kubectl", "kustomize", str(root)], capture_output=True, text=True, timeout=60
        )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""  # no warnings of deprecated fields
    return Manifests(tuple(yaml.safe_load_all(result.stdout)))


def entrypoint_default(name: str) -> str:
    """Return the default of a variable in backend/entrypoint.sh."""
    text = (ROOT / "backend" / "entrypoint.sh").read_text("utf-8")
    (value,) = re.findall(rf'^export {name}="\$\{{{name}:-([^}}]*)\}}"', text, re.MULTILINE)
    return value


def compose() -> Object:
    """Return the services of docker-compose.yml, without interpolation."""
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]


def example_variables() -> dict[str, str]:
    """Return the variables of .env.example."""
    lines = (ROOT / ".env.example").read_text("utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if re.match("[A-Z_]+=", line))
