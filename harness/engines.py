"""Docker Engines that a test may stop and restart, and small Compose projects."""

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
    """A dockerd in its own network namespace, separate from other engines."""

    def __init__(self, folder: Path, address: str = "") -> None:
        self.folder = folder
        self.name = folder.name
        self.host = f"unix://{folder}/docker.sock"
        self.address = address  # of its namespace, if this process can reach it; else empty
        self.tcp = f"tcp://{address}:2375" if address else ""
        self.process: subprocess.Popen[bytes] | None = None

    def docker(self, *arguments: str, **options: object) -> dockerized.Result:
        """Run `docker` against this engine; see `dockerized.docker`."""
        return dockerized.docker("--host", self.host, *arguments, **options)

    def is_ready(self) -> bool:
        """Return True if the engine answers."""
        return self.docker("version", ok=False).returncode == 0

    def start(self) -> None:
        """Start dockerd and wait until it answers."""
        (self.folder / "docker.pid").unlink(missing_ok=True)
        (self.folder / "daemon.json").write_text("{}")
        self.process = launch_dockerd(
            self.folder,
            # `ip netns exec` would mount a new /sys, which hides the cgroups.
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
        """Stop dockerd with SIGTERM, as the system does.

        After SIGKILL, containers would count as stopped by hand.
        """
        assert self.process
        self.process.terminate()
        self.process.wait(60)


def launch_dockerd(folder: Path, *command: str) -> subprocess.Popen[bytes]:
    """Start dockerd, or a command that ends in it, with its log in `folder`."""
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            command,
            env=os.environ | {"PATH": path_of_dockerd()},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


@contextlib.contextmanager
def engine(*, linked: bool = False) -> Iterator[Engine]:
    """Yield a running engine; remove it and its data on exit.

    Skips the test without root or dockerd.

    If `linked`, a network joins its namespace to this one, and it also listens on TCP there.
    """
    dockerized.require_engine()
    if (
        os.name != "posix"
        or os.geteuid() != 0
        or not shutil.which("dockerd", path=path_of_dockerd())
    ):
        pytest.skip("a separate engine needs root, and dockerd in PATH")
    folder = Path(tempfile.mkdtemp(prefix="engine-"))  # short: a socket path has at most 108 bytes
    subprocess.run(["ip", "netns", "add", folder.name], check=True)
    engine = Engine(folder)
    try:
        subprocess.run(["ip", "-n", engine.name, "link", "set", "lo", "up"], check=True)
        if linked:
            engine = Engine(folder, _link(engine.name))
        engine.start()
        yield engine
    finally:
        if engine.process and engine.process.poll() is None:
            for identity in engine.docker("ps", "--quiet", ok=False).stdout.split():
                engine.docker("kill", identity, ok=False)
            engine.stop()
        _end_shims(folder)
        subprocess.run(["ip", "netns", "delete", engine.name], check=True)
        mounts = Path("/proc/self/mounts").read_text().splitlines()
        for mount in sorted((line.split()[1] for line in mounts), reverse=True):
            if mount.startswith(f"{folder}/"):
                subprocess.run(["umount", "--lazy", mount], check=False)
        shutil.rmtree(folder, ignore_errors=True)


def _link(namespace: str) -> str:
    """Connect a network namespace to this one and return its address.

    The connection is removed with the namespace.
    """

    def ip(*arguments: str) -> str:
        return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout

    addresses = ip("-4", "address")
    prefix = next(p for n in range(1, 255) if f"{(p := f'198.18.{n}')}." not in addresses)
    interface = f"e{uuid.uuid4().hex[:8]}"
    ip("link", "add", interface, "type", "veth", "peer", "name", "us", "netns", namespace)
    ip("address", "add", f"{prefix}.1/24", "dev", interface)
    ip("link", "set", interface, "up")
    ip("-n", namespace, "address", "add", f"{prefix}.2/24", "dev", "us")
    ip("-n", namespace, "link", "set", "us", "up")
    return f"{prefix}.2"


def load(engine: Engine, *images: str) -> None:
    """Copy images of the shared engine to another one, which has no registry to pull from."""
    archive = engine.folder / "images.tar"
    dockerized.docker("save", "--output", str(archive), *images)
    engine.docker("load", "--input", str(archive))
    archive.unlink()


def _end_shims(folder: Path) -> None:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if any(str(folder) in word for word in process.cmdline()):
                process.kill()


def path_of_dockerd() -> str:
    """Return a PATH with the folders in which dockerd may be."""
    usr = Path(os.environ.get("DEAL_SCOUT_ENGINE", "/var/cache/deal-scout-engine")) / "engine/usr"
    return os.pathsep.join([str(usr / "sbin"), str(usr / "bin"), os.environ["PATH"], "/usr/sbin"])


def checkout(
    folder: Path, services: str, *, profile: str = "None", **variables: str
) -> ComposeStack:
    """Create a project with these services (YAML) and a tasks.py; nothing is up.

    `folder` names the project. `profile` is the expression that tasks.py passes to `namespace`:
    "PROFILE" is deal-scout's, "None" makes it any other project.
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
    """Yield a project that `checkout` has created and that is up; remove it on exit."""
    dockerized.require_engine()
    name = f"{dockerized.RUN}-{folder.name.replace('_', '-').lower()}"
    variables = {"DOCKER_HOST": host} if host else {}
    stack = checkout(folder, services, profile=profile, COMPOSE_PROJECT_NAME=name, **variables)
    try:
        stack.compose("up", "--detach")
        yield stack
    finally:
        stack.compose("down", "--volumes", "--timeout", "1", ok=False)
