"""Finds the images that `up` needs, and checks that they are present or can be pulled."""

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
    """Return the image that keeps `up` from starting the project, as a message; else empty.

    Queries the registries for images that the engine does not have, which may take seconds.
    """
    variables = project.environ  # for the variables in image names
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
        if not _is_present(client, image):  # else its base images do not matter
            needed.update(bases(build))
    for image in sorted(needed):
        if not (_is_present(client, image) or _is_in_registry(client, image)):
            return f"Docker is running, but the image {image} cannot be pulled"
    return ""


def bases(build: Mapping[str, Any]) -> Iterator[str]:
    """Yield the base images of a build; none if its Dockerfile is not readable on this machine."""
    text = build.get("dockerfile_inline", "")
    with suppress(OSError):  # the context may be a URL
        file = Path(build.get("context", "."), build.get("dockerfile", "Dockerfile"))
        text = text or file.read_text("utf-8", "replace")
    stages = {"scratch"}
    for image, stage in _FROM.findall(text):
        if image not in stages:
            yield image
        stages.add(stage)


# Matches whole lines: a heredoc of RUN may contain lines that begin with `from`.
_FROM = re.compile(
    r"^[ \t]*FROM[ \t]+(?:--\S+[ \t]+)*(\S+)(?:[ \t]+AS[ \t]+(\S+))?[ \t\r]*$", re.M | re.I
)


def _name(text: str, variables: Mapping[str, str]) -> str:
    try:
        return env_file.expand(text, variables.get)
    except ValueError:  # a variable is missing; `up` may write it into the first `.env`
        return text


def _is_present(client: APIClient, image: str) -> bool:
    """Return True if the engine has the image, or if its name contains an unresolved variable."""
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
