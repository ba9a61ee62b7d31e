"""Run `inv` like `subprocess.run`, but in a fork of `harness.fork_server`, which is faster."""

from __future__ import annotations

import functools
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.servers import clean_environment

ROOT = Path(__file__).parents[1]


def can_run(command: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Return True if a fork is safe and does the same: Python reads PYTHON… only on start."""

    def python_variables(variables: Mapping[str, str]) -> dict[str, str]:
        return {name: value for name, value in variables.items() if name.startswith("PYTHON")}

    return (
        sys.platform == "linux"
        and list(command[:3]) == [sys.executable, "-m", "invoke"]
        and python_variables(environment) == python_variables(clean_environment())
    )


def run(
    arguments: tuple[str, ...], cwd: Path, environment: dict[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run `inv` with its output captured and no input, and return what `subprocess.run` would.

    A killed command has the return code -9.

    Raises:
        subprocess.TimeoutExpired: it took longer than `timeout` seconds and was killed.
    """
    channel, far_channel = socket.socketpair()
    out, far_out = os.pipe()
    error, far_error = os.pipe()
    stdin = os.open(os.devnull, os.O_RDONLY)
    request = json.dumps([arguments, str(cwd), environment]).encode()
    far = [stdin, far_out, far_error, far_channel.detach()]
    try:
        socket.send_fds(_server(), [request], far)
    finally:
        for fd in far:
            os.close(fd)
    received = {channel.fileno(): b"", out: b"", error: b""}
    deadline = time.monotonic() + timeout
    with channel, os.fdopen(out), os.fdopen(error), selectors.DefaultSelector() as selector:
        for fd in received:
            selector.register(fd, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select(max(0.0, deadline - time.monotonic())):
                chunk = os.read(key.fd, 65536)
                received[key.fd] += chunk
                if not chunk:
                    selector.unregister(key.fd)
            if time.monotonic() >= deadline:
                for pid in received[channel.fileno()].split()[:1]:
                    os.kill(int(pid), signal.SIGKILL)
                raise subprocess.TimeoutExpired(["inv", *arguments], timeout)
        pid_and_code = received[channel.fileno()].split()
    code = int(pid_and_code[1]) if len(pid_and_code) > 1 else -signal.SIGKILL
    return subprocess.CompletedProcess(
        ["inv", *arguments], code, received[out].decode(), received[error].decode()
    )


@functools.cache
def _server() -> socket.socket:
    """Start the server and return the connection to it; the server ends with this process."""
    # SOCK_SEQPACKET: each request has to arrive as one message.
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    subprocess.Popen(
        [sys.executable, "-m", "harness.fork_server", str(far.fileno())],
        cwd=ROOT,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        pass_fds=[far.fileno()],
    )
    far.close()
    return near
