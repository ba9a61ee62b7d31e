"""The Compose project in a checkout: its name, its files, its .env, and `docker compose` itself."""

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
from invoke_stack.runtimes.docker import engine, identity

if TYPE_CHECKING:
    from docker import APIClient


class Project:
    """A checkout with Compose files in it."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.environ = {**config.variables, **os.environ}
        self.root = identity.unresolved(config.root, os.environ)
        self.folder = project_folder(self.root, self.environ)
        explicit = explicit_name(self.root, self.environ)
        self.is_derived = not explicit  # from the folder, so that it means this checkout alone
        self.name = explicit or derived_name(self.folder)

    def files(self) -> list[Path]:
        """The Compose files that there are; none is a checkout without Docker."""
        return compose_files(self.root, self.environ)

    def compose(
        self,
        words: Sequence[str],
        *,
        files: Sequence[Path] = (),
        show: bool = False,
        every_profile: bool = False,
    ) -> str:
        """Run `docker compose` for it, with these files if any; its progress to stderr if `show`."""
        if not shutil.which("docker"):
            raise OutOfReach(
                "the command `docker` is not installed", "install Docker with its Compose plugin"
            )
        variables = {
            "COMPOSE_PROJECT_NAME": self.name,
            "PWD": str(self.root),  # Compose labels the containers with it
            # The flag alone removes orphans; the runtime lists them, with the command for it.
            "COMPOSE_REMOVE_ORPHANS": "false",
            "COMPOSE_IGNORE_ORPHANS": "false" if "--remove-orphans" in words else "true",
        }
        if every_profile:
            variables["COMPOSE_PROFILES"] = "*"
        result = subprocess.run(
            ["docker", "compose", *(f"--file={file}" for file in files), *words],
            cwd=self.root,
            env=os.environ | variables,
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

    def services(self, files: Sequence[Path] = ()) -> Mapping[str, Any]:
        """Its services as the files describe them, whatever the variables are."""
        return dict(self.model(files)["services"])

    def model(
        self, files: Sequence[Path] = (), *, every_profile: bool = False
    ) -> Mapping[str, Any]:
        """What the files describe, whatever the variables are."""
        # `config --services` would be less to read, and refuses uninterpolated ports (Compose 2.26).
        words = ("config", "--format", "json", "--no-interpolate")
        return dict(json.loads(self.compose(words, files=files, every_profile=every_profile)))

    # Whose containers and volumes they are

    def refuse_other_checkout(self, folders: Iterable[str], client: APIClient) -> None:
        """Raise `OtherCheckout` if the project's containers were started in another folder.

        `folders` is what the labels of its containers or services name. A name that was set
        explicitly means the same stack from every folder.
        """
        if self.is_derived and (others := identity.other_folders(folders, self.folder)):
            is_here = engine.publishes_here(client)
            raise identity.refusal(self.name, others, is_engine_here=is_here)

    def refuse_other_data(self, volumes: Sequence[str]) -> None:
        """Raise `OtherCheckout` if volumes without any container may be another checkout's.

        Volumes do not say in which folder they were made. So those of a derived name count as this
        checkout's only if it has started the project.
        """
        if volumes and self.is_derived and not identity.is_started_by(*self._start):
            raise OtherCheckout(
                f"{', '.join(volumes)} may be another checkout's data: this one has never started"
                f" the project {self.name!r}",
                f"if it is this one's, add this line to .env: {identity.setting(self.name)}",
            )

    def note_start(self) -> None:
        """Note that this checkout starts the project, for `refuse_other_data`."""
        identity.note_start(*self._start)

    @property
    def _start(self) -> tuple[Path, str, Path]:
        return self.config.state / "started-project", self.name, self.folder

    # The first .env

    def lacks_passwords(self, client: APIClient, label: str) -> bool:
        """Return True if `write_env` would write passwords.

        `label` is that of the project's volumes. Raises `OutOfReach` if there are any: data that
        exists has passwords already.
        """
        if not self._is_without_passwords():
            return False
        with engine.errors():
            kept = client.volumes(filters={"label": label})["Volumes"]
        if not kept:
            return True
        lost = ".env has no passwords" if (self.root / ".env").exists() else ".env is missing"
        beside = f", or start beside that data: {identity.setting(identity.another(self.name))}"
        raise OutOfReach(
            f"{lost}, but the data in {', '.join(sorted(each['Name'] for each in kept))}"
            " needs its passwords",
            'restore it, see "When .env is lost" in docs/operations.md'
            + (f"{beside} in .env" if self.is_derived else ""),
        )

    def _is_without_passwords(self) -> bool:
        """Return True if nothing sets a password of the project yet."""
        passwords = self.config.profile.passwords
        example = self.root / ".env.example"
        if not passwords or any(self.environ.get(name) for name in passwords):
            return False
        return example.exists() and all(name in read_env_file(example) for name in passwords)

    def write_env(self, client: APIClient, label: str, say: Say) -> None:
        """Write new passwords into `.env`, which begins as a copy of the example.

        For `label`, and what it raises, see `lacks_passwords`.
        """
        if not self.lacks_passwords(client, label):
            return
        target = self.root / ".env"
        source = target if target.exists() else self.root / ".env.example"
        text = source.read_text("utf-8")
        for secret in self.config.profile.passwords:
            line = f"{secret}={secrets.token_urlsafe(24)}"
            text, count = re.subn(rf"^{secret}=$", line, text, flags=re.M)
            text += "" if count else f"\n{line}\n"
        new = target.with_name(".env.new")
        new.touch(mode=0o600)
        new.write_text(text, "utf-8")
        new.replace(target)
        say("wrote new passwords into .env (only you can read it)")


def say_orphans(orphans: Sequence[str], say: Say, *, removed: bool | None = None) -> None:
    """List the orphans before `up` removes or leaves them; None: before `down`, which leaves them."""
    names = ", ".join(orphans)
    if not orphans:
        return
    if removed:
        say(f"removing orphans, which are in no Compose file: {names}")
        return
    say(f"notice: orphans, which are in no Compose file, stay: {names}")
    if removed is False:
        say("  remove them: inv up --remove-orphans")


def explicit_name(root: Path, environ: Mapping[str, str]) -> str:
    """Return the project's name as COMPOSE_PROJECT_NAME or `name:` sets it; empty if none does."""
    # A line that cannot be read is for whoever loads the configuration to tell.
    in_file = read_env_file(root / ".env", environ, lambda _: None)
    if name := environ.get("COMPOSE_PROJECT_NAME") or in_file.get("COMPOSE_PROJECT_NAME"):
        return name
    for file in reversed(compose_files(root, environ)):
        if file.is_file():
            named = re.search(r"^name:\s*[\"']?([a-z0-9_-]+)", file.read_text("utf-8"), re.M)
            if named:
                return named[1]
    return ""


def derived_name(folder: Path) -> str:
    """Return the name that Compose derives from the project's folder."""
    name = re.sub(r"[^a-z0-9_-]", "", folder.name.lower()).lstrip("_-")
    if not name:
        raise BadInput(
            f"the folder's name {folder.name!r} cannot be a project's",
            "set COMPOSE_PROJECT_NAME=NAME",
        )
    return name


def project_folder(root: Path, environ: Mapping[str, str]) -> Path:
    """Return the project's folder: that of its first Compose file, as Compose labels containers."""
    files = compose_files(root, environ)
    return Path(os.path.normpath(files[0].parent)) if files else root


def compose_files(root: Path, environ: Mapping[str, str]) -> list[Path]:
    """The files that Compose would read: those of COMPOSE_FILE, else the first usual name."""
    listed = environ.get("COMPOSE_FILE", "")
    if listed:
        separator = environ.get("COMPOSE_PATH_SEPARATOR", os.pathsep)
        return [root / name for name in listed.split(separator)]
    usual = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
    return [root / name for name in usual if (root / name).exists()][:1]
