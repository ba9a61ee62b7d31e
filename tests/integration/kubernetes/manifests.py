"""The manifests as `kubectl` builds them, and the files that they must agree with."""

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
    """What one overlay becomes."""

    objects: tuple[Object, ...]

    def of(self, *kinds: str) -> Iterator[Object]:
        return (each for each in self.objects if each["kind"] in kinds)

    def get(self, kind: str, name: str) -> Object:
        """The object of that name, whatever sum was appended to it."""
        (found,) = (
            each
            for each in self.of(kind)
            if re.fullmatch(rf"{name}(-[a-z0-9]{{10}})?", each["metadata"]["name"])
        )
        return found

    def workloads(self) -> Iterator[Object]:
        return self.of("Deployment", "StatefulSet")

    def containers(self) -> Iterator[tuple[Object, Object]]:
        """Every container, after its pod."""
        for each in self.workloads():
            pod = each["spec"]["template"]["spec"]
            yield from ((pod, container) for container in pod["containers"])

    def container(self, name: str) -> Object:
        (found,) = (container for _, container in self.containers() if container["name"] == name)
        return found


def require_kubectl() -> None:
    """Skip the test without kubectl; fail it when REQUIRE_KUBECTL is set."""
    if shutil.which("kubectl"):
        return
    problem = "no kubectl in PATH: it is a package of that name, or kubernetes-client"
    if os.environ.get("REQUIRE_KUBECTL", "0") not in ("", "0"):
        pytest.fail(f"{problem} (and REQUIRE_KUBECTL is set)", pytrace=False)
    pytest.skip(problem)


@functools.cache
def build(overlay: str, *components: str, more: str = "") -> Manifests:
    """`kubectl kustomize` of an overlay whose secrets are filled in.

    `components` are added to it, and `more`, which is further YAML for its kustomization.
    """
    require_kubectl()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "kubernetes"
        shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("secret.env"))
        place = folder / "overlays" / overlay
        example = (place / "secret.env.example").read_text("utf-8")
        filled = re.sub(
            r"^([A-Z_]+)=$", lambda name: name[0] + VALUES[name[1]], example, flags=re.M
        )
        (place / "secret.env").write_text(filled, "utf-8")
        file = place / "kustomization.yaml"
        content = yaml.safe_load(file.read_text("utf-8")) | (yaml.safe_load(more) or {})
        added = [f"../../components/{name}" for name in components]
        content["components"] = content.get("components", []) + added
        file.write_text(yaml.safe_dump(content), "utf-8")
        done = subprocess.run(
            ["kubectl", "kustomize", str(place)], capture_output=True, text=True, timeout=60
        )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # it warns of fields that are going away
    return Manifests(tuple(yaml.safe_load_all(done.stdout)))


def entrypoint_default(name: str) -> str:
    """What backend/entrypoint.sh takes for a variable that is not set."""
    text = (ROOT / "backend" / "entrypoint.sh").read_text("utf-8")
    (value,) = re.findall(rf'^export {name}="\$\{{{name}:-([^}}]*)\}}"', text, re.MULTILINE)
    return value


def compose() -> Object:
    """docker-compose.yml, before its variables are filled in."""
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]


def example_variables() -> dict[str, str]:
    lines = (ROOT / ".env.example").read_text("utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if re.match("[A-Z_]+=", line))
