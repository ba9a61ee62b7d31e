"""A Compose project → a file that `docker stack deploy` accepts, whichever version it is. Pure.

The stack parser knows an old Compose format (3.8) with types of its own: it refuses some of what
`docker compose config` writes, ignores some with a warning, and some in silence.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

POSITION, DIGEST, FOLDER = "ops.position", "ops.digest", "ops.folder"
"""Labels of a service: its place in the order of starts, what it was made from, and the folder of
the project that deployed it."""

_AS_IT_IS = {
    *("cap_add", "cap_drop", "command", "configs", "deploy", "dns", "dns_search", "entrypoint"),
    *("environment", "expose", "extra_hosts", "healthcheck", "hostname", "image", "init", "labels"),
    *("logging", "networks", "ports", "read_only", "secrets", "stdin_open", "stop_grace_period"),
    *("stop_signal", "sysctls", "tty", "ulimits", "user", "volumes", "working_dir"),
}
_TRANSLATED = {"depends_on", "restart", "tmpfs", "mem_limit", "mem_reservation", "cpus", "scale"}
# Nothing is lost without these: images are built before, and never pulled by a tag of ours.
_NEEDLESS = {"build", "container_name", "pull_policy", "profiles", "platform"}

_CONDITIONS = {"no": "none", "on-failure": "on-failure"}
_UNITS = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


@dataclass(frozen=True)
class StackFile:
    """What is deployed."""

    content: Mapping[str, Any]
    secrets: Mapping[str, str]  # by the name of the file beside it that must hold the value
    lost: tuple[str, ...]  # what Swarm cannot do, as `service: key`


def derive(
    model: Mapping[str, Any],
    variables: Mapping[str, str],
    *,
    replicas: Mapping[str, int],
    images: Mapping[str, str],
) -> StackFile:
    """Translate what `docker compose config --format json` printed.

    `variables` hold the values of the secrets that the model takes from the environment; an empty
    one is left out, with the variables that name its file. `replicas` are those that somebody has
    scaled a service to. `images` are the ids behind the tags, so that a new build is a change.
    """
    project = model["name"]
    given, values = _secrets(model, variables)
    services = dict(model["services"])
    lost: list[str] = []
    result = {}
    for position, name in enumerate(_in_order(services)):
        service = _without_empty(services[name], set(model.get("secrets", ())) - set(given))
        lost += [f"{name}: {key}" for key in sorted(service.keys() - _known(service))]
        made = _service(service)
        if image := images.get(made["image"]):
            made["labels"] = {**made.get("labels", {}), "ops.image": image}
        deploy = made["deploy"]
        if name in replicas and deploy.get("mode", "replicated") == "replicated":
            deploy["replicas"] = replicas[name]
        # By the names of its secrets too, which change with their values.
        used = [given[each["source"]]["name"] for each in service.get("secrets", ())]
        told = {key: value for key, value in deploy.items() if key != "replicas"}
        digest = _digest(json.dumps([made | {"deploy": told}, used], sort_keys=True))
        labels = {POSITION: str(position), DIGEST: digest}
        result[name] = made | {"deploy": deploy | {"labels": deploy.get("labels", {}) | labels}}
    content = {
        "version": "3.8",  # older parsers insist on it
        "services": result,
        "networks": _named(model, "networks", project, ("driver", "ipam")),
        "volumes": _named(model, "volumes", project, ()),
        "secrets": given,
        "configs": dict(model.get("configs", {})),
    }
    return StackFile(content, values, tuple(lost))


def _known(service: Mapping[str, Any]) -> set[str]:
    blank = {key for key, value in service.items() if value in (None, False, [], {})}
    return _AS_IT_IS | _TRANSLATED | _NEEDLESS | blank


def _in_order(services: Mapping[str, Any]) -> list[str]:
    """The services, each behind those that it depends on."""
    ordered: dict[str, None] = {}

    def add(name: str) -> None:
        for needed in services[name].get("depends_on") or {}:
            if needed in services:
                add(needed)
        ordered.setdefault(name)

    for name in services:
        add(name)
    return list(ordered)


def _service(service: Mapping[str, Any]) -> dict[str, Any]:
    made = {k: v for k, v in service.items() if k in _AS_IT_IS and v is not None}
    made["environment"] = {
        name: value for name, value in made.get("environment", {}).items() if value is not None
    }
    if "healthcheck" in made:  # start_interval needs a newer parser, and engine
        made["healthcheck"] = {
            k: v for k, v in made["healthcheck"].items() if k != "start_interval"
        }
    made["ports"] = [
        _port(port) for port in made.get("ports", ()) if port.get("host_ip", "") in _EVERYWHERE
    ]
    made["volumes"] = [
        *map(_mount, made.get("volumes", ())),
        *map(_tmpfs, service.get("tmpfs") or ()),
    ]
    made["deploy"] = _deploy(service)
    # Empty lists are as good as nothing, and older parsers refuse a few.
    return {key: value for key, value in made.items() if value not in ([], {})}


_EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104
# A port of one address alone, as of 127.0.0.1, cannot be: Swarm would open it on all of them. So
# it stays closed.


def _port(port: Mapping[str, Any]) -> dict[str, Any]:
    made = {key: port[key] for key in ("mode", "protocol") if key in port}
    made |= {key: int(port[key]) for key in ("target", "published") if port.get(key)}
    return made


def _mount(mount: Mapping[str, Any]) -> dict[str, Any]:
    made = {k: mount[k] for k in ("type", "source", "target", "read_only") if k in mount}
    if mount.get("bind", {}).get("propagation"):
        made["bind"] = {"propagation": mount["bind"]["propagation"]}
    if mount.get("volume", {}).get("nocopy"):
        made["volume"] = {"nocopy": True}
    if mount.get("tmpfs", {}).get("size"):
        made["tmpfs"] = {"size": _bytes(mount["tmpfs"]["size"])}
    return made


def _tmpfs(text: str) -> dict[str, Any]:
    """`/tmp:size=64m,mode=1777` as a mount. Its mode is 1777 on Swarm, whatever is asked for."""
    target, _, options = text.partition(":")
    told = dict(option.partition("=")[::2] for option in options.split(","))
    made: dict[str, Any] = {"type": "tmpfs", "target": target}
    return made | ({"tmpfs": {"size": _bytes(told["size"])}} if "size" in told else {})


def _bytes(size: str | int) -> int:
    text = str(size).lower().removesuffix("b")
    unit = text[-1:] if text[-1:] in _UNITS else ""
    return int(text.removesuffix(unit)) * _UNITS.get(unit, 1)


def _deploy(service: Mapping[str, Any]) -> dict[str, Any]:
    deploy = dict(service.get("deploy") or {})
    if "restart_policy" not in deploy:
        name, _, times = (service.get("restart") or "no").partition(":")
        policy: dict[str, Any] = {"condition": _CONDITIONS.get(name, "any")}
        deploy["restart_policy"] = policy | ({"max_attempts": int(times)} if times else {})
    if "replicas" not in deploy and service.get("scale") is not None:
        deploy["replicas"] = service["scale"]
    given = deploy.get("resources", {})
    limits = {"memory": service.get("mem_limit"), "cpus": service.get("cpus")}
    reserved = {"memory": service.get("mem_reservation")}
    resources = {
        kind: {
            key: str(value)
            for key, value in (plain | given.get(kind, {})).items()
            if key in ("cpus", "memory") and value
        }
        for kind, plain in (("limits", limits), ("reservations", reserved))
    }
    deploy["resources"] = {kind: told for kind, told in resources.items() if told}
    return {key: value for key, value in deploy.items() if value != {}}


def _secrets(
    model: Mapping[str, Any], variables: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """The secrets of the services, and the values of those that come from variables.

    A secret cannot be changed, so a new value is a secret of another name.
    """
    wanted = {
        each["source"]
        for service in model["services"].values()
        for each in service.get("secrets") or ()
    }
    given, values = {}, {}
    for name, told in model.get("secrets", {}).items():
        if name not in wanted:
            continue  # for builds
        if "environment" not in told:
            given[name] = dict(told)
        elif value := variables.get(told["environment"], ""):
            values[name] = value
            version = _digest(f"{model['name']} {name} {value}")
            given[name] = {"name": f"{model['name']}_{name}_{version}", "file": f"./{name}"}
    return given, values


def _without_empty(service: Mapping[str, Any], left_out: set[str]) -> dict[str, Any]:
    """The service without secrets that have no value, and without variables that name their files."""
    secrets = service.get("secrets") or ()
    gone = {
        each.get("target") or f"/run/secrets/{each['source']}"
        for each in secrets
        if each["source"] in left_out
    }
    environment = service.get("environment") or {}
    return {
        **service,
        "environment": {name: value for name, value in environment.items() if value not in gone},
        "secrets": [dict(each) for each in secrets if each["source"] not in left_out],
    }


def _named(
    model: Mapping[str, Any], kind: str, project: str, without: tuple[str, ...]
) -> dict[str, Any]:
    """Networks or volumes; the stack gives them the very names that Compose does."""
    result = {}
    for name, told in (model.get(kind) or {}).items():
        made = {key: value for key, value in (told or {}).items() if key not in without and value}
        if made.get("name") == f"{project}_{name}":
            del made["name"]
        result[name] = made
    return result


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
