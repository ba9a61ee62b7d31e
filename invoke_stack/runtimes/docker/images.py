"""The images of a Compose project: which `up` would need, and whether they can be had."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke_stack import env_file
from invoke_stack.errors import OutOfReach
from invoke_stack.runtimes.docker import engine
from invoke_stack.runtimes.docker.project import Project

if TYPE_CHECKING:
    from docker import APIClient


def obstacle(client: APIClient, project: Project) -> str:
    """Return which image keeps `up` from starting the project, in a few words; empty if none does.

    Images that are not on the engine are looked for in their registries, which may take seconds.
    """
    variables = project.environ  # which Compose puts into the names
    pulled: set[str] = set()
    builds: dict[str, Mapping[str, Any]] = {}
    for service, description in project.services().items():
        image = description.get("image", "")
        if build := description.get("build"):
            builds[_name(image or f"{project.name}-{service}", variables)] = build
        elif image:
            pulled.add(_name(image, variables))
    needed = pulled - builds.keys()
    for image, build in builds.items():
        if not _is_present(client, image):  # if it is, its bases do not matter
            needed.update(bases(build))
    for image in sorted(needed):
        if not (_is_present(client, image) or _is_in_registry(client, image)):
            return f"an engine answers, but the image {image} cannot be had"
    return ""


def bases(build: Mapping[str, Any]) -> Iterator[str]:
    """Yield the images that a build begins from, as far as its Dockerfile can be read here."""
    text = build.get("dockerfile_inline", "")
    with suppress(OSError):  # the context may be an address
        file = Path(build.get("context", "."), build.get("dockerfile", "Dockerfile"))
        text = text or file.read_text("utf-8", "replace")
    stages = {"scratch"}
    for image, stage in _FROM.findall(text):
        if image not in stages:
            yield image
        stages.add(stage)


# To the end of its line: what a RUN feeds to a program may begin with `from`, too.
_FROM = re.compile(
    r"^[ \t]*FROM[ \t]+(?:--\S+[ \t]+)*(\S+)(?:[ \t]+AS[ \t]+(\S+))?[ \t\r]*$", re.M | re.I
)


def _name(text: str, variables: Mapping[str, str]) -> str:
    try:
        return env_file.expand(text, variables.get)
    except ValueError:  # a variable is missing, which may come with the first `.env`
        return text


def _is_present(client: APIClient, image: str) -> bool:
    """Return True if the engine has it, or if its name cannot be known before the build."""
    from docker.errors import ImageNotFound

    if "$" in image:
        return True
    with engine.errors():
        try:
            client.inspect_image(image)
        except ImageNotFound:
            return False
    return True


def _is_in_registry(client: APIClient, image: str) -> bool:
    try:
        with engine.errors():
            client.inspect_distribution(image)
    except OutOfReach:
        return False
    return True
