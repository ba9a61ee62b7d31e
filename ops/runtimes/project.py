"""The Compose project in a checkout: its name, its files, its .env, and `docker compose` itself."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.config import Config, read_env_file
from ops.errors import BadInput, NotHealthy, OutOfReach
from ops.runtime import Say
from ops.runtimes import engine

if TYPE_CHECKING:
    from docker import APIClient

_SECRETS = ("POSTGRES_PASSWORD", "REDIS_PASSWORD")


class Project:
    """A checkout with Compose files in it."""

    def __init__(self, config: Config) -> None:
        self.root = config.root
        self.name = project_name(config.root, {**config.variables, **os.environ})

    def files(self) -> list[Path]:
        """The Compose files that there are; none is a checkout without Docker."""
        return compose_files(self.root, os.environ)

    def compose(
        self, words: Sequence[str], *, files: Sequence[Path] = (), show: bool = False
    ) -> str:
        """Run `docker compose` for it, with these files if any; its progress to stderr if `show`."""
        if not shutil.which("docker"):
            raise OutOfReach(
                "the command `docker` is not installed", "install Docker with its Compose plugin"
            )
        result = subprocess.run(
            ["docker", "compose", *(f"--file={file}" for file in files), *words],
            cwd=self.root,
            env=os.environ | {"COMPOSE_PROJECT_NAME": self.name},
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

    def services(self) -> Mapping[str, Any]:
        """Its services as the files describe them, whatever the variables are."""
        # `config --services` would be less to read, and refuses uninterpolated ports (Compose 2.26).
        words = ("config", "--format", "json", "--no-interpolate")
        return dict(json.loads(self.compose(words))["services"])

    def write_env(self, client: APIClient, label: str, say: Say) -> None:
        """A first `.env`: the example with secrets filled in, for its owner only.

        `label` is that of the project's volumes: data that is there already has passwords already.
        """
        target, example = self.root / ".env", self.root / ".env.example"
        if target.exists() or not example.exists():
            return
        with engine.errors():
            kept = client.volumes(filters={"label": label})["Volumes"]
        if kept:
            raise OutOfReach(
                f".env is missing, and it held the passwords of the data in {kept[0]['Name']}",
                "restore it, or start anew without the data: inv down --volumes",
            )
        text = example.read_text("utf-8")
        for secret in _SECRETS:
            text = re.sub(
                rf"^{secret}=$", f"{secret}={secrets.token_urlsafe(24)}", text, flags=re.M
            )
        new = target.with_name(".env.new")
        new.touch(mode=0o600)
        new.write_text(text, "utf-8")
        new.replace(target)
        say("wrote .env with new secrets (only you can read it)")


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
