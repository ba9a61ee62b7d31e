"""Reads Compose's labels of containers and volumes. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

LABEL = "com.docker.compose"


def is_orphan(container: Mapping[str, Any], services: Collection[str]) -> bool:
    """Return True if `docker compose up --remove-orphans` removes a container of the project.

    Compose before 2.27 keeps the exited container of a `docker compose run` of a known service.
    """
    labels = container["Labels"]
    if labels.get(f"{LABEL}.oneoff") == "True":
        return container["State"] in ("exited", "dead")
    return labels.get(f"{LABEL}.service") not in services


def is_declared(volume: Mapping[str, Any], project: str, declared: Mapping[str, Any]) -> bool:
    """Return True if `docker compose down --volumes` deletes a volume.

    `declared` holds the volumes of the Compose files by key.
    """
    own = {key: options for key, options in declared.items() if not options.get("external")}
    if volume["Name"] in [options.get("name") for options in own.values()]:
        return True
    # A name that contains a variable is not resolved here; the label holds the key.
    labels = volume["Labels"] or {}
    return labels.get(f"{LABEL}.project") == project and labels.get(f"{LABEL}.volume") in own


def anonymous_volumes(containers: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the anonymous volumes of these containers, each with its service."""
    for container in containers:
        for mount in container.get("Mounts") or ():
            if mount["Type"] == "volume" and re.fullmatch(r"[0-9a-f]{64}", mount["Name"]):
                yield f"{mount['Name'][:12]} (of {container['Labels'][f'{LABEL}.service']})"
