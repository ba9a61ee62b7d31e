"""Docker Engines of the tests' own, which they may stop and start; and small Compose projects on any."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from harness import dockerized
from harness.compose_stacks import ComposeStack
from harness.servers import wait_until
from harness.stacks import ROOT

TASKS = """from pathlib import Path
from deal_scout_profile import PROFILE
from invoke_stack import namespace
ns = namespace(root=Path(__file__).parent, profile={profile})
"""


class Engine:
    """A dockerd in a network namespace of its own, so that it disturbs no other."""

    def __init__(self, folder: Path, address: str = "") -> None:
        self.folder = folder
        self.name = folder.name
        self.host = f"unix://{folder}/docker.sock"
        self.address = address  # in the network that joins it to this process; empty without one
        self.tcp = f"tcp://{address}:2375" if address else ""
        self.process: subprocess.Popen[bytes] | None = None

    def docker(self, *words: str, **more: object) -> dockerized.Done:
        return dockerized.docker("--host", self.host, *words, **more)

    def is_ready(self) -> bool:
        return self.docker("version", ok=False).returncode == 0

    def start(self) -> None:
        (self.folder / "docker.pid").unlink(missing_ok=True)
        (self.folder / "daemon.json").write_text("{}")
        self.process = launch_dockerd(
            self.folder,
            # `ip netns exec` would hide the cgroups behind a /sys of its own.
            *("nsenter", f"--net=/run/netns/{self.name}", "dockerd"),
            *("--config-file", str(self.folder / "daemon.json")),
            *("--data-root", str(self.folder / "data")),
            *("--exec-root", str(self.folder / "exec")),
            *("--pidfile", str(self.folder / "docker.pid")),
            *("--host", self.host, "--group", "root"),
            *(("--host", self.tcp, "--tls=false") if self.tcp else ()),
        )
        wait_until("the engine answers", self.is_ready, 60)

    def stop(self) -> None:
        """As the system does. Killed, it would take its containers for stopped by hand."""
        assert self.process
        self.process.terminate()
        self.process.wait(60)


def launch_dockerd(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    """Start a command that becomes dockerd; it logs into `folder`."""
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            words,
            env=os.environ | {"PATH": path_of_dockerd()},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


@contextlib.contextmanager
def engine(*, linked: bool = False) -> Iterator[Engine]:
    """One that runs; with its data it goes away in the end. Skips where that is not possible.

    With `linked` it answers over TCP as well, in a network of its own and this process's.
    """
    dockerized.require_engine()
    if (
        os.name != "posix"
        or os.geteuid() != 0
        or not shutil.which("dockerd", path=path_of_dockerd())
    ):
        pytest.skip("an engine of its own needs root, and dockerd in PATH")
    folder = Path(tempfile.mkdtemp(prefix="engine-"))  # short: a socket's path has 108 bytes
    subprocess.run(["ip", "netns", "add", folder.name], check=True)
    made = Engine(folder)
    try:
        subprocess.run(["ip", "-n", made.name, "link", "set", "lo", "up"], check=True)
        if linked:
            made = Engine(folder, _link(made.name))
        made.start()
        yield made
    finally:
        if made.process and made.process.poll() is None:
            for identity in made.docker("ps", "--quiet", ok=False).stdout.split():
                made.docker("kill", identity, ok=False)
            made.stop()
        _end_shims(folder)
        subprocess.run(["ip", "netns", "delete", made.name], check=True)
        mounts = Path("/proc/self/mounts").read_text().splitlines()
        for mount in sorted((line.split()[1] for line in mounts), reverse=True):
            if mount.startswith(f"{folder}/"):
                subprocess.run(["umount", "--lazy", mount], check=False)
        shutil.rmtree(folder, ignore_errors=True)


def _link(namespace: str) -> str:
    """Join a network namespace to this one; returns the address there. It goes with the namespace."""

    def ip(*words: str) -> str:
        return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout

    taken = ip("-4", "address")
    prefix = next(p for n in range(1, 255) if f"{(p := f'198.18.{n}')}." not in taken)
    ours = f"e{uuid.uuid4().hex[:8]}"
    ip("link", "add", ours, "type", "veth", "peer", "name", "us", "netns", namespace)
    ip("address", "add", f"{prefix}.1/24", "dev", ours)
    ip("link", "set", ours, "up")
    ip("-n", namespace, "address", "add", f"{prefix}.2/24", "dev", "us")
    ip("-n", namespace, "link", "set", "us", "up")
    return f"{prefix}.2"


def load(own: Engine, *images: str) -> None:
    """Give an engine, which has no registry to pull from, images of the shared one."""
    archive = own.folder / "images.tar"
    dockerized.docker("save", "--output", str(archive), *images)
    own.docker("load", "--input", str(archive))
    archive.unlink()


def _end_shims(folder: Path) -> None:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if any(str(folder) in word for word in process.cmdline()):
                process.kill()


def path_of_dockerd() -> str:
    own = Path(os.environ.get("DEAL_SCOUT_ENGINE", "/var/cache/deal-scout-engine")) / "engine/usr"
    return os.pathsep.join([str(own / "sbin"), str(own / "bin"), os.environ["PATH"], "/usr/sbin"])


def checkout(
    folder: Path, services: str, *, profile: str = "None", **variables: str
) -> ComposeStack:
    """A folder with these services (YAML) and our verbs; nothing is up. Its name is the project's.

    With the `profile` "PROFILE" it is what deal-scout is to the toolkit; else another project.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "compose.yaml").write_text(services, "utf-8")
    (folder / "tasks.py").write_text(TASKS.format(profile=profile), "utf-8")
    (folder / "invoke.yaml").write_text('stack: {ready: ""}\n', "utf-8")
    environment = dockerized.environment(
        INVOKE_STACK_RUNTIME="compose", PYTHONPATH=str(ROOT), **variables
    )
    return ComposeStack(folder, environment=environment)


@contextlib.contextmanager
def project(
    folder: Path, services: str, host: str = "", *, profile: str = "None"
) -> Iterator[ComposeStack]:
    """A project as `checkout` makes it; it is up, and goes away again."""
    dockerized.require_engine()
    name = f"{dockerized.RUN}-{folder.name.replace('_', '-').lower()}"
    more = {"DOCKER_HOST": host} if host else {}
    stack = checkout(folder, services, profile=profile, COMPOSE_PROJECT_NAME=name, **more)
    try:
        stack.compose("up", "--detach")
        yield stack
    finally:
        stack.compose("down", "--volumes", "--timeout", "1", ok=False)
