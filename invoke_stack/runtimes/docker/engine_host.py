"""Decides whether an engine publishes its ports on this machine.

The engine's address is no proof: a unix socket crosses network namespaces and may be forwarded from
another machine, and 127.0.0.1 may be one end of a tunnel. Without proof the engine counts as remote;
requests through the engine work in both cases.
"""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

# Products that run the engine in a virtual machine and forward published ports to its host, by the
# engine's host name or operating system.
_VIRTUAL_MACHINES = re.compile(
    r"^(docker[- ]desktop|orbstack|colima|lima-|rancher desktop)", re.IGNORECASE | re.MULTILINE
)
_CONNECT_TIMEOUT = 2.0  # seconds; a listener that never accepts would block forever
_CONTAINER_FILES = ("/.dockerenv", "/run/.containerenv")


def publishes_here(
    info: Mapping[str, Any],
    networks: Iterable[Mapping[str, Any]],
    *,
    platform: str,
    hostname: str,
    interfaces: Collection[str],
    is_socket: bool,
    listener: str,
    in_container: bool,
) -> bool:
    """Return True if the engine's published ports are certainly ports of this machine.

    `info` and `networks` come from the engine, the rest from this machine: `sys.platform`, the host
    name, the names of the network interfaces, whether the engine is reached over a unix socket or a
    named pipe, and the results of `listener` and `is_in_container`.
    """
    is_same_name = info.get("Name") == hostname
    # Bridge names contain a random id. A cloned machine has them too, hence the host name.
    has_bridge = any(bridge_name(network["Id"]) in interfaces for network in networks)
    if platform == "linux" and has_bridge and (is_socket or is_same_name):
        return True
    if not is_socket:
        return False
    if _VIRTUAL_MACHINES.search(f"{info.get('Name')}\n{info.get('OperatingSystem')}"):
        return not in_container
    if platform != "linux":
        return is_same_name
    # Rootless engines forward the ports of their own network namespace to that of the user.
    is_rootless = "name=rootless" in (info.get("SecurityOptions") or ())
    return is_same_name and (is_rootless or listener == "systemd")


def bridge_name(network_id: str) -> str:
    """Return the default name of the interface that Docker creates for a bridge network."""
    return f"br-{network_id[:12]}"


def bridge_address(inspected: Mapping[str, Any], interfaces: Collection[str]) -> str:
    """Return a container's address in a network whose bridge is an interface of this machine.

    Empty if there is none. Overlay networks do not count, and neither does the default bridge, which
    has the same name on every machine.
    """
    for network in (inspected["NetworkSettings"].get("Networks") or {}).values():
        if network.get("IPAddress") and bridge_name(network["NetworkID"]) in interfaces:
            return str(network["IPAddress"])
    return ""


def interfaces() -> frozenset[str]:
    """Return the names of the interfaces in this process's network namespace."""
    # Not from /sys: it shows the namespace that it was mounted in.
    return frozenset(name for _, name in socket.if_nameindex())


def listener(path: str) -> str:
    """Return the name of the process that listens on a unix socket (Linux).

    Empty if it is in another network namespace, or if that is unknown. The listener of a socket that
    systemd opened for a service is `systemd`.
    """
    if not hasattr(socket, "AF_UNIX"):
        return ""
    with suppress(OSError, struct.error), socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(_CONNECT_TIMEOUT)
        sock.connect(path)
        peer = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid, _, _ = struct.unpack("3i", peer)
        # Each network namespace has its own inode; unlike ns/net, every user may read this file.
        if _inode(f"/proc/{pid}/net/dev") == _inode("/proc/self/net/dev"):
            return Path(f"/proc/{pid}/comm").read_text("utf-8").strip()
    return ""


def _inode(path: str) -> int:
    return Path(path).stat().st_ino


def is_in_container() -> bool:
    """Return True if this process runs in a Docker or Podman container."""
    return any(Path(file).exists() for file in _CONTAINER_FILES)
