"""This machine, as far as a stack depends on it: its ports, its disks, its Compose."""

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


def is_free(port: int) -> bool:
    """Whether nobody listens on a port of 127.0.0.1."""
    with socket.socket() as sock:
        if os.name != "nt":  # there, the option lets two listen on one port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def listener(port: int) -> str:
    """The process that listens on a port, as far as this user may see it; empty if not."""
    try:
        import psutil
    except ImportError:  # it comes with the local runtime
        return ""
    with suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            here = connection.laddr
            listens = connection.status == psutil.CONN_LISTEN and here and here.port == port
            if listens and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    return ""


def disk(path: Path) -> Disk:
    """The file system that holds a path."""
    usage = shutil.disk_usage(path)
    free_files = 1.0
    if os.name != "nt":
        files = os.statvfs(path)
        free_files = files.f_favail / files.f_files if files.f_files else 1.0
    return Disk(str(path), usage.total, usage.free, free_files)


def read_df(name: str, said: str) -> Disk:
    """The same from what `df -Pk` printed elsewhere."""
    _, total, _, free = said.splitlines()[-1].split()[:4]
    return Disk(name, int(total) * 1024, int(free) * 1024)


def has_docker() -> bool:
    """Whether the command `docker` is installed."""
    return shutil.which("docker") is not None


def compose_version() -> str:
    """The version of Docker's Compose plugin. Raises `OutOfReach` when there is none."""
    words = ["docker", "compose", "version", "--short"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT)
    except FileNotFoundError:
        raise OutOfReach(
            "the command `docker` is not installed", "install Docker with its Compose plugin"
        ) from None
    except subprocess.TimeoutExpired:
        raise OutOfReach(f"`docker compose version` took more than {TIMEOUT} s") from None
    if done.returncode == 0:
        return done.stdout.strip().lstrip("v")
    old = ", only the old docker-compose" if shutil.which("docker-compose") else ""
    raise OutOfReach(
        f"Docker has no Compose plugin{old}",
        "install it (sudo apt-get install docker-compose-plugin, or Docker Desktop)",
    )
