"""What a stack needs of this machine: free ports, disk space and Docker's command line."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

from invoke_stack.errors import OutOfReach
from invoke_stack.model import Disk

TIMEOUT = 8  # seconds for one command


def is_port_free(port: int) -> bool:
    """Return True if no process listens on a port of 127.0.0.1."""
    with socket.socket() as sock:
        if os.name != "nt":  # on Windows, the option lets two processes listen on one port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def listener(port: int) -> str:
    """Return the process that listens on a port; empty if this user cannot see it."""
    try:
        import psutil
    except ImportError:  # installed with the local runtime only
        return ""
    with suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            address = connection.laddr
            is_listening = connection.status == psutil.CONN_LISTEN
            if is_listening and address and address.port == port and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    return ""


def disk(path: Path) -> Disk:
    """Return the file system that holds a path."""
    usage = shutil.disk_usage(path)
    free_files = 1.0
    if os.name != "nt":
        files = os.statvfs(path)
        free_files = files.f_favail / files.f_files if files.f_files else 1.0
    return Disk(str(path), usage.total, usage.free, free_files)


def read_df(name: str, output: str) -> Disk:
    """Return the file system that `df -Pk` printed on another machine."""
    _, total, _, free = output.splitlines()[-1].split()[:4]
    return Disk(name, int(total) * 1024, int(free) * 1024)


def has_docker() -> bool:
    """Return True if the command `docker` is installed."""
    return shutil.which("docker") is not None


def compose_version() -> str:
    """Return the version of Docker's Compose plugin. Raises `OutOfReach` if there is none."""
    command = ["docker", "compose", "version", "--short"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
    except FileNotFoundError:
        raise OutOfReach(
            "the command `docker` is not installed", "install Docker with its Compose plugin"
        ) from None
    except subprocess.TimeoutExpired:
        raise OutOfReach(f"`docker compose version` took more than {TIMEOUT} s") from None
    if result.returncode == 0:
        return result.stdout.strip().lstrip("v")
    old = ", only the old docker-compose" if shutil.which("docker-compose") else ""
    raise OutOfReach(
        f"Docker has no Compose plugin{old}",
        "install it (sudo apt-get install docker-compose-plugin, or Docker Desktop)",
    )
