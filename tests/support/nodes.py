"""Machines for a swarm: each is a dockerd in its own namespaces; a bridge connects them.

All processes of a node, containers included, are in one PID namespace. When its first process is
killed, all of them end at once, as on a power failure.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import dockerized
from harness.engines import launch_dockerd, path_of_dockerd
from harness.servers import wait_until


class Bridge:
    """A network namespace with a bridge that connects the nodes and this process."""

    def __init__(self) -> None:
        self.token = uuid.uuid4().hex[:5]  # short: an interface name has at most 15 characters
        self.name = f"hub-{self.token}"
        addresses = _run("ip", "-4", "address")
        self.prefix = next(p for n in range(1, 255) if f"{(p := f'198.18.{n}')}." not in addresses)

    def __enter__(self) -> Bridge:
        _run("ip", "netns", "add", self.name)
        _run("ip", "-n", self.name, "link", "add", "br0", "type", "bridge")
        _run("ip", "-n", self.name, "link", "set", "br0", "up")
        interface = f"h{self.token}"
        _run(
            "ip", "link", "add", interface, "type", "veth", "peer", "name", "us", "netns", self.name
        )
        _run("ip", "-n", self.name, "link", "set", "us", "master", "br0", "up")
        _run("ip", "address", "add", f"{self.prefix}.1/24", "dev", interface)
        _run("ip", "link", "set", interface, "up")
        return self

    def __exit__(self, *_: object) -> None:
        _run("ip", "netns", "delete", self.name)


class Node:
    """One machine. `number` is from 1 to 9."""

    def __init__(self, bridge: Bridge, number: int, folder: Path) -> None:
        self.bridge = bridge
        self.name = f"node-{number}"
        self.netns = f"{self.name}-{bridge.token}"
        self.port = f"n{number}"  # its port of the bridge
        self.address = f"{bridge.prefix}.{10 + number}"
        self.folder = folder / self.name
        self.host = f"unix://{self.folder}/docker.sock"
        self.process: subprocess.Popen[bytes] | None = None

    def docker(self, *arguments: str, ok: bool = True, timeout: float = 300) -> dockerized.Result:
        """Run `docker` against this node; it must succeed unless `ok` is False."""
        return dockerized.docker("--host", self.host, *arguments, ok=ok, timeout=timeout)

    def is_ready(self) -> bool:
        """Return True if its engine answers."""
        return self.docker("version", ok=False).returncode == 0

    def start(self) -> None:
        """Start the node and wait until its engine answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not Path(f"/run/netns/{self.netns}").exists():
            self._connect()
        for stale in ("docker.pid", "docker.sock"):
            (self.folder / stale).unlink(missing_ok=True)
        shutil.rmtree(self.folder / "exec", ignore_errors=True)
        (self.folder / "daemon.json").write_text("{}")
        dockerd = (
            f"mount -t tmpfs tmpfs /run && hostname {self.name} && exec tini-static -s -- dockerd"
            f" --config-file {self.folder}/daemon.json --data-root {self.folder}/data"
            f" --exec-root {self.folder}/exec --pidfile {self.folder}/docker.pid"
            f" --init-path /usr/bin/tini-static --host {self.host} --group root"
        )
        self.process = launch_dockerd(
            self.folder,
            # `ip netns exec` would mount a new /sys, which hides the cgroups.
            *("nsenter", f"--net=/run/netns/{self.netns}", "unshare", "--mount", "--uts"),
            *("--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", dockerd),
        )
        wait_until(f"{self.name} answers", self.is_ready, 60)

    def _connect(self) -> None:
        _run("ip", "netns", "add", self.netns)
        _run("ip", "-n", self.netns, "link", "set", "lo", "up")
        _run(
            *("ip", "-n", self.bridge.name, "link", "add", self.port, "type", "veth"),
            *("peer", "name", "eth0", "netns", self.netns),
        )
        _run("ip", "-n", self.bridge.name, "link", "set", self.port, "master", "br0", "up")
        _run("ip", "-n", self.netns, "address", "add", f"{self.address}/24", "dev", "eth0")
        _run("ip", "-n", self.netns, "link", "set", "eth0", "up")

    def disconnect(self) -> None:
        """Disconnect the node from the others; it keeps running."""
        _run("ip", "-n", self.bridge.name, "link", "set", self.port, "down")

    def reconnect(self) -> None:
        """Connect the node to the others again."""
        _run("ip", "-n", self.bridge.name, "link", "set", self.port, "up")

    def kill(self) -> None:
        """Kill all processes of the node at once, as a power failure does."""
        assert self.process
        self.process.kill()
        self.process.wait(30)
        wait_until(f"{self.name} is down", lambda: not self.is_ready(), 30)

    def remove(self) -> None:
        """Kill the node and delete its data."""
        if self.process and self.process.poll() is None:
            self.kill()
        if Path(f"/run/netns/{self.netns}").exists():
            _run("ip", "netns", "delete", self.netns)
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def nodes(count: int) -> Iterator[list[Node]]:
    """Yield running nodes, not yet a swarm. Skip the test without root or dockerd."""
    dockerized.require_engine()
    if (
        os.name != "posix"
        or os.geteuid() != 0
        or not shutil.which("dockerd", path=path_of_dockerd())
    ):
        pytest.skip("a separate engine needs root, and dockerd in PATH")
    folder = Path(tempfile.mkdtemp(prefix="swarm-"))  # short: a socket path has at most 108 bytes
    with Bridge() as bridge:
        machines = [Node(bridge, number, folder) for number in range(1, count + 1)]
        try:
            for node in machines:
                node.start()
            yield machines
        finally:
            for node in machines:
                node.remove()
            shutil.rmtree(folder, ignore_errors=True)


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
