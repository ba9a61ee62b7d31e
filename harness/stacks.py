"""Whole stacks for tests, each in a copy of the checkout."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from harness import fork_client
from harness.servers import clean_environment

ROOT = Path(__file__).parents[1]


@dataclass
class Stack:
    """A checkout of its own, and the verbs in it."""

    root: Path
    runtime: str
    environment: dict[str, str] = field(default_factory=clean_environment)

    def inv(
        self, *words: str, timeout: float = 180, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run `inv` as a user does; its output is no terminal."""
        environment = {**self.environment, **(env or {})}
        if fork_client.can_run(environment):
            return fork_client.run(words, self.root, environment, timeout)
        return subprocess.run(
            self.command(*words),
            cwd=self.root,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "invoke", *words]

    def start(self, *words: str, **more: Any) -> subprocess.Popen[Any]:
        """Start `inv`, with further arguments for Popen."""
        return subprocess.Popen(self.command(*words), cwd=self.root, env=self.environment, **more)

    def restart_until(self, marker: str) -> tuple[subprocess.Popen[str], str]:
        """Restart the backend until a line with `marker` is shown; return the process and the text."""
        process = self.start(
            "restart-backend", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        shown = ""
        for line in process.stdout:
            shown += line
            if marker in line:
                break
        return process, shown

    def ok(self, *words: str, **more: Any) -> str:
        """Run `inv`, which must succeed; what it printed."""
        result = self.inv(*words, **more)
        assert result.returncode == 0, (words, result.returncode, result.stdout, result.stderr)
        return result.stdout

    def json(self, *words: str, **more: Any) -> Any:
        return json.loads(self.inv(*words, "--json", **more).stdout)

    def service(self, name: str) -> dict[str, Any]:
        return next(s for s in self.json("status")["services"] if s["name"] == name)

    def is_healthy(self) -> bool:
        """Return True if the backend is ready. It is asked itself, because waits ask often."""
        port = self.backend_port()
        if port is None:
            return self.inv("health").returncode == 0
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3)
        with (
            contextlib.suppress(OSError, http.client.HTTPException),
            contextlib.closing(connection),
        ):
            connection.request("GET", "/ready")
            return connection.getresponse().status == 200
        return False

    def backend_port(self) -> int | None:
        """Return the port of this machine on which the backend answers; None if it is not known."""
        return None

    @contextlib.contextmanager
    def setting(self, *lines: str) -> Iterator[None]:
        """More lines in .env for a while; what takes them over is up to the test."""
        file = self.root / ".env"
        before = file.read_text("utf-8") if file.exists() else None
        file.write_text("\n".join([before or "", *lines, ""]), "utf-8")
        try:
            yield
        finally:
            file.unlink() if before is None else file.write_text(before, "utf-8")

    # What only the runtime itself can do

    def pids(self, service: str) -> list[int]:
        """The process ids of a service, its main process first."""
        raise NotImplementedError

    def run(self, service: str, *words: str) -> str:
        """Run a command beside a service by hand, which must succeed; what it printed."""
        return subprocess.run(
            self.exec_command(service, *words),
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    def exec_command(self, service: str, *words: str) -> list[str]:
        """What a user types to run a command beside a service."""
        raise NotImplementedError

    def url(self, service: str = "backend") -> str:
        return f"http://{self.service(service)['ports'][0]}"

    def kill(self, service: str, how: signal.Signals | None = None) -> None:
        """Send a signal to its main process, by default SIGKILL (a name that Windows lacks)."""
        self.signal(self.pids(service)[0], how or signal.SIGKILL)

    def signal(self, pid: int, how: signal.Signals) -> None:
        os.kill(pid, how)


@dataclass
class LocalStack(Stack):
    runtime: str = "local"

    @property
    def state(self) -> Path:
        return self.root / ".local"

    def backend_port(self) -> int | None:
        with contextlib.suppress(FileNotFoundError):
            return int(json.loads((self.state / "stack.json").read_text())["ports"]["backend"])
        return None

    def pids(self, service: str) -> list[int]:
        from invoke_stack.runtimes.local.supervise import Supervisor

        pid = Supervisor(self.state / "run").processes()[service]["pid"]
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]

    def exec_command(self, service: str, *words: str) -> list[str]:
        return ["/bin/sh", str(self.state / "run" / f"{service}.sh"), "run", *words]


def copy_checkout(target: Path) -> Path:
    """What a clone of the present state holds."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        source = ROOT / name
        if source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)
    return target


@contextlib.contextmanager
def local_stack(folder: Path) -> Iterator[LocalStack]:
    """A checkout with nothing up; whatever is up in the end is taken down."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Whatever else this machine has: an engine that answers would be preferred.
    environment = clean_environment(INVOKE_STACK_RUNTIME="local")
    stack = LocalStack(copy_checkout(folder), environment=environment)
    try:
        yield stack
    finally:
        stack.inv("down", "--volumes", "--yes", "--runtime", "local")
