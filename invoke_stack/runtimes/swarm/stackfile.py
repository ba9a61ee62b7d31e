"""Translates a Compose project into a file that any version of `docker stack deploy` accepts. Pure.

The stack parser supports an old Compose format (3.8) with its own types. It rejects some keys that
`docker compose config` prints, ignores some with a warning, and others silently.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

POSITION, DIGEST, FOLDER = "ops.position", "ops.digest", "ops.folder"
"""Labels of a service: its position in the start order, a digest of its definition, and the folder of
the project that deployed it."""

_COPIED = {
    *("cap_add", "cap_drop", "command", "configs", "deploy", "dns", "dns_search", "entrypoint"),
    *("environment", "expose", "extra_hosts", "healthcheck", "hostname", "image", "init", "labels"),
    *("logging", "networks", "ports", "read_only", "secrets", "stdin_open", "stop_grace_period"),
    *("stop_signal", "sysctls", "tty", "ulimits", "user", "volumes", "working_dir"),
}
_TRANSLATED = {"depends_on", "restart", "tmpfs", "mem_limit", "mem_reservation", "cpus", "scale"}
# Not needed: images are built before, and our own tags are never pulled.
_DROPPED = {"build", "container_name", "pull_policy", "profiles", "platform"}

_CONDITIONS = {"no": "none", "on-failure": "on-failure"}
_UNITS = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


@dataclass(frozen=True)
class StackFile:
    """A stack as `docker stack deploy` reads it."""

    content: Mapping[str, Any]
    secrets: Mapping[str, str]  # values by file name; the files belong beside the stack file
    unsupported: tuple[str, ...]  # keys that Swarm does not support, as `service: key`


def derive(
    model: Mapping[str, Any],
    variables: Mapping[str, str],
    *,
    replicas: Mapping[str, int],
    images: Mapping[str, str],
) -> StackFile:
    """Translate the output of `docker compose config --format json`.

    Args:
        model: the parsed output.
        variables: the values of secrets that come from variables. An empty secret is left out,
            together with the variables that name its file.
        replicas: the replica counts set by `inv scale`, by service.
        images: the image ids by tag, so that a new build counts as a change.
    """
    project = model["name"]
    secrets, values = _secrets(model, variables)
    services = dict(model["services"])
    unsupported: list[str] = []
    result = {}
    for position, name in enumerate(_in_start_order(services)):
        source = _without_secrets(services[name], set(model.get("secrets", ())) - set(secrets))
        unsupported += [f"{name}: {key}" for key in sorted(source.keys() - _handled_keys(source))]
        service = _service(source)
        if image := images.get(service["image"]):
            service["labels"] = {**service.get("labels", {}), "ops.image": image}
        deploy = service["deploy"]
        if name in replicas and deploy.get("mode", "replicated") == "replicated":
            deploy["replicas"] = replicas[name]
        # The names of secrets change with their values, so they are part of the digest.
        secret_names = [secrets[each["source"]]["name"] for each in source.get("secrets", ())]
        unscaled = {key: value for key, value in deploy.items() if key != "replicas"}
        digest = _digest(json.dumps([service | {"deploy": unscaled}, secret_names], sort_keys=True))
        labels = {POSITION: str(position), DIGEST: digest}
        result[name] = service | {"deploy": deploy | {"labels": deploy.get("labels", {}) | labels}}
    content = {
        "version": "3.8",  # required by older parsers
        "services": result,
        "networks": _named(model, "networks", project, ("driver", "ipam")),
        "volumes": _named(model, "volumes", project, ()),
        "secrets": secrets,
        "configs": dict(model.get("configs", {})),
    }
    return StackFile(content, values, tuple(unsupported))


def _handled_keys(service: Mapping[str, Any]) -> set[str]:
    empty = {key for key, value in service.items() if value in (None, False, [], {})}
    return _COPIED | _TRANSLATED | _DROPPED | empty


def _in_start_order(services: Mapping[str, Any]) -> list[str]:
    """Return the names of the services, each after those that it depends on."""
    ordered: dict[str, None] = {}

    def add(name: str) -> None:
        for dependency in services[name].get("depends_on") or {}:
            if dependency in services:
                add(dependency)
        ordered.setdefault(name)

    for name in services:
        add(name)
    return list(ordered)


def _service(source: Mapping[str, Any]) -> dict[str, Any]:
    result = {k: v for k, v in source.items() if k in _COPIED and v is not None}
    result["environment"] = {
        name: value for name, value in result.get("environment", {}).items() if value is not None
    }
    if "healthcheck" in result:  # start_interval needs a newer parser and engine
        result["healthcheck"] = {
            k: v for k, v in result["healthcheck"].items() if k != "start_interval"
        }
    result["ports"] = [
        _port(port) for port in result.get("ports", ()) if port.get("host_ip", "") in _ANY_ADDRESS
    ]
    result["volumes"] = [
        *map(_mount, result.get("volumes", ())),
        *map(_tmpfs, source.get("tmpfs") or ()),
    ]
    result["deploy"] = _deploy(source)
    # Empty lists have no effect, and older parsers reject some of them.
    return {key: value for key, value in result.items() if value not in ([], {})}


# Other ports are dropped: Swarm would publish a port of 127.0.0.1 on all addresses.
_ANY_ADDRESS = ("", "0.0.0.0", "::")  # noqa: S104


def _port(port: Mapping[str, Any]) -> dict[str, Any]:
    result = {key: port[key] for key in ("mode", "protocol") if key in port}
    result |= {key: int(port[key]) for key in ("target", "published") if port.get(key)}
    return result


def _mount(mount: Mapping[str, Any]) -> dict[str, Any]:
    result = {k: mount[k] for k in ("type", "source", "target", "read_only") if k in mount}
    if mount.get("bind", {}).get("propagation"):
        result["bind"] = {"propagation": mount["bind"]["propagation"]}
    if mount.get("volume", {}).get("nocopy"):
        result["volume"] = {"nocopy": True}
    if mount.get("tmpfs", {}).get("size"):
        result["tmpfs"] = {"size": _bytes(mount["tmpfs"]["size"])}
    return result


def _tmpfs(text: str) -> dict[str, Any]:
    """Return `/tmp:size=64m,mode=1777` as a mount. On Swarm the mode is always 1777."""
    target, _, settings = text.partition(":")
    options = dict(option.partition("=")[::2] for option in settings.split(","))
    mount: dict[str, Any] = {"type": "tmpfs", "target": target}
    return mount | ({"tmpfs": {"size": _bytes(options["size"])}} if "size" in options else {})


def _bytes(size: str | int) -> int:
    text = str(size).lower().removesuffix("b")
    unit = text[-1:] if text[-1:] in _UNITS else ""
    return int(text.removesuffix(unit)) * _UNITS.get(unit, 1)


def _deploy(service: Mapping[str, Any]) -> dict[str, Any]:
    deploy = dict(service.get("deploy") or {})
    if "restart_policy" not in deploy:
        name, _, attempts = (service.get("restart") or "no").partition(":")
        policy: dict[str, Any] = {"condition": _CONDITIONS.get(name, "any")}
        deploy["restart_policy"] = policy | ({"max_attempts": int(attempts)} if attempts else {})
    if "replicas" not in deploy and service.get("scale") is not None:
        deploy["replicas"] = service["scale"]
    explicit = deploy.get("resources", {})
    limits = {"memory": service.get("mem_limit"), "cpus": service.get("cpus")}
    reservations = {"memory": service.get("mem_reservation")}
    resources = {
        kind: {
            key: str(value)
            for key, value in (defaults | explicit.get(kind, {})).items()
            if key in ("cpus", "memory") and value
        }
        for kind, defaults in (("limits", limits), ("reservations", reservations))
    }
    deploy["resources"] = {kind: values for kind, values in resources.items() if values}
    return {key: value for key, value in deploy.items() if value != {}}


def _secrets(
    model: Mapping[str, Any], variables: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the secrets that services use, and the values of those that come from variables.

    Swarm's secrets are immutable, so the name of a secret contains a digest of its value.
    """
    used = {
        secret["source"]
        for service in model["services"].values()
        for secret in service.get("secrets") or ()
    }
    secrets, values = {}, {}
    for name, definition in model.get("secrets", {}).items():
        if name not in used:
            continue  # used by builds only
        if "environment" not in definition:
            secrets[name] = dict(definition)
        elif value := variables.get(definition["environment"], ""):
            values[name] = value
            version = _digest(f"{model['name']} {name} {value}")
            secrets[name] = {"name": f"{model['name']}_{name}_{version}", "file": f"./{name}"}
    return secrets, values


def _without_secrets(service: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    """Return the service without these secrets, and without the variables that name their files."""
    secrets = service.get("secrets") or ()
    files = {
        secret.get("target") or f"/run/secrets/{secret['source']}"
        for secret in secrets
        if secret["source"] in names
    }
    environment = service.get("environment") or {}
    return {
        **service,
        "environment": {name: value for name, value in environment.items() if value not in files},
        "secrets": [dict(secret) for secret in secrets if secret["source"] not in names],
    }


def _named(
    model: Mapping[str, Any], kind: str, project: str, dropped: tuple[str, ...]
) -> dict[str, Any]:
    """Return the networks or volumes, without the default names: Swarm and Compose use the same."""
    result = {}
    for name, definition in (model.get(kind) or {}).items():
        options = {
            key: value for key, value in (definition or {}).items() if key not in dropped and value
        }
        if options.get("name") == f"{project}_{name}":
            del options["name"]
        result[name] = options
    return result


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
