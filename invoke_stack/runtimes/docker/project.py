"""The Compose project of a checkout: its name, its files, its .env, and calls of `docker compose`."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke_stack.config import Config, read_env_file
from invoke_stack.errors import BadInput, NotHealthy, OtherCheckout, OutOfReach
from invoke_stack.runtimes.base import Say
from invoke_stack.runtimes.docker import engine, ownership

if TYPE_CHECKING:
    from docker import APIClient


class Project:
    """The Compose project of a checkout."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.environ = {**config.variables, **os.environ}
        self.root = ownership.unresolved_root(config.root, os.environ)
        self.folder = project_folder(self.root, self.environ)
        explicit = explicit_name(self.root, self.environ)
        self.is_name_derived = not explicit  # from the folder: belongs to this checkout only
        self.name = explicit or derived_name(self.folder)

    def files(self) -> list[Path]:
        """Return the Compose files; none in a checkout without Docker."""
        return compose_files(self.root, self.environ)

    def compose(
        self,
        arguments: Sequence[str],
        *,
        files: Sequence[Path] = (),
        show_output: bool = False,
        all_profiles: bool = False,
    ) -> str:
        """Run `docker compose` and return its stdout; with `show_output`, stdout goes to stderr.

        `files` replace the project's own files. Raises `OutOfReach` if Docker or its Compose plugin
        is not installed, and `NotHealthy` if the command fails.
        """
        if not shutil.which("docker"):
            raise OutOfReach(
                "the command `docker` is not installed", "install Docker with its Compose plugin"
            )
        variables = {
            "COMPOSE_PROJECT_NAME": self.name,
            "PWD": str(self.root),  # the folder in the labels of the containers
            # Only the flag removes orphans; the runtime itself lists them.
            "COMPOSE_REMOVE_ORPHANS": "false",
            "COMPOSE_IGNORE_ORPHANS": "false" if "--remove-orphans" in arguments else "true",
        }
        if all_profiles:
            variables["COMPOSE_PROFILES"] = "*"
        result = subprocess.run(
            ["docker", "compose", *(f"--file={file}" for file in files), *arguments],
            cwd=self.root,
            env=os.environ | variables,
            stdout=2 if show_output else subprocess.PIPE,
            stderr=None if show_output else subprocess.PIPE,
            text=True,
        )
        if result.returncode:
            stderr = (result.stderr or "").strip()
            last = stderr.splitlines()[-1:]
            if "is not a docker command" in stderr or "unknown command: docker compose" in stderr:
                raise OutOfReach("Docker has no Compose plugin", "install docker-compose-plugin")
            raise NotHealthy(
                f"docker compose {arguments[0]} failed" + "".join(f": {line}" for line in last),
                "see its output above" if show_output else "run it yourself to see all its output",
            )
        return result.stdout or ""

    def services(self, files: Sequence[Path] = ()) -> Mapping[str, Any]:
        """Return the services of the Compose files, with variables not interpolated."""
        return dict(self.model(files)["services"])

    def model(self, files: Sequence[Path] = (), *, all_profiles: bool = False) -> Mapping[str, Any]:
        """Return the content of the Compose files, with variables not interpolated."""
        # `config --services` prints less, but rejects uninterpolated ports (Compose 2.26).
        arguments = ("config", "--format", "json", "--no-interpolate")
        return dict(json.loads(self.compose(arguments, files=files, all_profiles=all_profiles)))

    # Owner of containers and volumes

    def refuse_other_checkout(self, folders: Iterable[str], client: APIClient) -> None:
        """Raise `OtherCheckout` if the project's containers were started in another folder.

        `folders` come from the labels of its containers or services. An explicit name means the
        same stack from every folder.
        """
        if self.is_name_derived and (others := ownership.other_folders(folders, self.folder)):
            is_here = engine.publishes_here(client)
            raise ownership.other_checkout_error(self.name, others, is_engine_here=is_here)

    def refuse_other_data(self, volumes: Sequence[str]) -> None:
        """Raise `OtherCheckout` if volumes without any container may belong to another checkout.

        Volumes have no label for the folder that created them. With a derived name they count as
        this checkout's only if it has started the project.
        """
        if volumes and self.is_name_derived and not ownership.has_started(*self._start):
            raise OtherCheckout(
                f"{', '.join(volumes)} may be another checkout's data: this one has never started"
                f" the project {self.name!r}",
                f"if it belongs to this one, add to .env: {ownership.env_line(self.name)}",
            )

    def record_start(self) -> None:
        """Record that this checkout starts the project, for `refuse_other_data`."""
        ownership.record_start(*self._start)

    @property
    def _start(self) -> tuple[Path, str, Path]:
        return self.config.state / "started-project", self.name, self.folder

    # The first .env

    def needs_passwords(self, client: APIClient, label: str) -> bool:
        """Return True if `write_env` would write passwords.

        `label` is the label of the project's volumes. Raises `OutOfReach` if the project needs
        passwords but has volumes: existing data already has its own.
        """
        if not self._has_no_passwords():
            return False
        with engine.errors():
            volumes = client.volumes(filters={"label": label})["Volumes"]
        if not volumes:
            return True
        problem = ".env has no passwords" if (self.root / ".env").exists() else ".env is missing"
        new_name = ownership.env_line(ownership.alternative_name(self.name))
        raise OutOfReach(
            f"{problem}, but the data in {', '.join(sorted(each['Name'] for each in volumes))}"
            " needs its passwords",
            'restore it, see "When .env is lost" in docs/operations.md'
            + (f", or start a new stack: {new_name} in .env" if self.is_name_derived else ""),
        )

    def _has_no_passwords(self) -> bool:
        """Return True if the project uses passwords and none of them is set."""
        passwords = self.config.profile.passwords
        example = self.root / ".env.example"
        if not passwords or any(self.environ.get(name) for name in passwords):
            return False
        return example.exists() and all(name in read_env_file(example) for name in passwords)

    def write_env(self, client: APIClient, label: str, say: Say) -> None:
        """Write new passwords into `.env`, which starts as a copy of `.env.example`.

        For `label` and errors, see `needs_passwords`.
        """
        if not self.needs_passwords(client, label):
            return
        target = self.root / ".env"
        source = target if target.exists() else self.root / ".env.example"
        text = source.read_text("utf-8")
        for name in self.config.profile.passwords:
            line = f"{name}={secrets.token_urlsafe(24)}"
            text, count = re.subn(rf"^{name}=$", line, text, flags=re.M)
            text += "" if count else f"\n{line}\n"
        new = target.with_name(".env.new")
        new.touch(mode=0o600)
        new.write_text(text, "utf-8")
        new.replace(target)
        say("wrote new passwords to .env (readable only by you)")


def report_orphans(orphans: Sequence[str], say: Say, *, removed: bool | None = None) -> None:
    """List the orphans that `up` removes or keeps; None means `down`, which keeps them."""
    names = ", ".join(orphans)
    if not orphans:
        return
    if removed:
        say(f"removing orphans (in no Compose file): {names}")
        return
    say(f"notice: keeping orphans (in no Compose file): {names}")
    if removed is False:
        say("  remove them: inv up --remove-orphans")


def explicit_name(root: Path, environ: Mapping[str, str]) -> str:
    """Return the project name set by COMPOSE_PROJECT_NAME or `name:`; empty if neither is set."""
    # Loading the configuration reports invalid lines; ignore them here.
    env_file = read_env_file(root / ".env", environ, lambda _: None)
    if name := environ.get("COMPOSE_PROJECT_NAME") or env_file.get("COMPOSE_PROJECT_NAME"):
        return name
    for file in reversed(compose_files(root, environ)):
        if file.is_file():
            match = re.search(r"^name:\s*[\"']?([a-z0-9_-]+)", file.read_text("utf-8"), re.M)
            if match:
                return match[1]
    return ""


def derived_name(folder: Path) -> str:
    """Return the name that Compose derives from the project's folder."""
    name = re.sub(r"[^a-z0-9_-]", "", folder.name.lower()).lstrip("_-")
    if not name:
        raise BadInput(
            f"cannot derive a project name from the folder {folder.name!r}",
            "set COMPOSE_PROJECT_NAME=NAME",
        )
    return name


def project_folder(root: Path, environ: Mapping[str, str]) -> Path:
    """Return the folder of the first Compose file, which Compose puts into its labels."""
    files = compose_files(root, environ)
    return Path(os.path.normpath(files[0].parent)) if files else root


def compose_files(root: Path, environ: Mapping[str, str]) -> list[Path]:
    """Return the files that Compose reads: those of COMPOSE_FILE, else the first default name."""
    listed = environ.get("COMPOSE_FILE", "")
    if listed:
        separator = environ.get("COMPOSE_PATH_SEPARATOR", os.pathsep)
        return [root / name for name in listed.split(separator)]
    defaults = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
    return [root / name for name in defaults if (root / name).exists()][:1]
