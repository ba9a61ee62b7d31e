"""Stacks for tests and benchmarks, each in its own copy of the checkout."""

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
    """A copy of the checkout, and the `inv` commands in it."""

    root: Path
    runtime: str
    environment: dict[str, str] = field(default_factory=clean_environment)

    def inv(
        self, *arguments: str, timeout: float = 180, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run `inv` in the checkout, without a terminal, and return its result."""
        environment = {**self.environment, **(env or {})}
        command = self.command(*arguments)
        if fork_client.can_run(command, environment):
            return fork_client.run(arguments, self.root, environment, timeout)
        return subprocess.run(
            command,
            cwd=self.root,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of `inv` with these arguments."""
        return [sys.executable, "-m", "invoke", *arguments]

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[Any]:
        """Start `inv`, with further keyword arguments for `Popen`."""
        command = self.command(*arguments)
        return subprocess.Popen(command, cwd=self.root, env=self.environment, **options)

    def restart_until(self, marker: str) -> tuple[subprocess.Popen[str], str]:
        """Start `inv restart-backend` and return it and its output up to a line with `marker`."""
        process = self.start(
            "restart-backend", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        output = ""
        for line in process.stdout:
            output += line
            if marker in line:
                break
        return process, output

    def ok(self, *arguments: str, **options: Any) -> str:
        """Run `inv`, which must succeed, and return its stdout."""
        result = self.inv(*arguments, **options)
        assert result.returncode == 0, (arguments, result.returncode, result.stdout, result.stderr)
        return result.stdout

    def json(self, *arguments: str, **options: Any) -> Any:
        """Run `inv` with `--json` and return its parsed stdout."""
        return json.loads(self.inv(*arguments, "--json", **options).stdout)

    def service(self, name: str) -> dict[str, Any]:
        """Return the entry of a service in `inv status --json`."""
        return next(s for s in self.json("status")["services"] if s["name"] == name)

    def is_healthy(self) -> bool:
        """Return True if the backend is ready, asking it directly if possible: `inv` is slow."""
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
        """Return the port of the backend on this machine; None if unknown."""
        return None

    @contextlib.contextmanager
    def setting(self, *lines: str) -> Iterator[None]:
        """Append lines to .env until the block ends; the test has to apply them."""
        file = self.root / ".env"
        before = file.read_text("utf-8") if file.exists() else None
        file.write_text("\n".join([before or "", *lines, ""]), "utf-8")
        try:
            yield
        finally:
            file.unlink() if before is None else file.write_text(before, "utf-8")

    # What depends on the runtime

    def pids(self, service: str) -> list[int]:
        """Return the process ids of a service, its main process first."""
        raise NotImplementedError

    def run(self, service: str, *command: str) -> str:
        """Run a command in the environment of a service, which must succeed; return its stdout."""
        return subprocess.run(
            self.exec_command(service, *command),
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    def exec_command(self, service: str, *command: str) -> list[str]:
        """Return the command line that runs a command in the environment of a service."""
        raise NotImplementedError

    def url(self, service: str = "backend") -> str:
        """Return the address of a service on this machine."""
        return f"http://{self.service(service)['ports'][0]}"

    def kill(self, service: str, sig: signal.Signals | None = None) -> None:
        """Send a signal to the main process of a service, by default SIGKILL."""
        # No default in the signature: Windows has no SIGKILL.
        self.signal(self.pids(service)[0], sig or signal.SIGKILL)

    def signal(self, pid: int, sig: signal.Signals) -> None:
        """Send a signal to a process of the stack."""
        os.kill(pid, sig)


@dataclass
class LocalStack(Stack):
    """A checkout whose services run on the `local` runtime."""

    runtime: str = "local"

    @property
    def state(self) -> Path:
        """The folder with the state of the stack."""
        return self.root / ".local"

    def backend_port(self) -> int | None:
        """Return the port of the backend on this machine; None if unknown."""
        with contextlib.suppress(FileNotFoundError):
            return int(json.loads((self.state / "stack.json").read_text())["ports"]["backend"])
        return None

    def pids(self, service: str) -> list[int]:
        """Return the process ids of a service, its main process first."""
        from invoke_stack.runtimes.local.supervise import Supervisor

        pid = Supervisor(self.state / "run").processes()[service]["pid"]
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]

    def exec_command(self, service: str, *command: str) -> list[str]:
        """Return the command line that runs a command in the environment of a service."""
        return ["/bin/sh", str(self.state / "run" / f"{service}.sh"), "run", *command]


def copy_checkout(target: Path) -> Path:
    """Copy the files of the checkout to `target`, without those that git ignores."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listing.stdout.decode().split("\0")):
        source = ROOT / name
        if source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)
    return target


@contextlib.contextmanager
def local_stack(folder: Path) -> Iterator[LocalStack]:
    """Yield a stack that is not up; take it down on exit."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Otherwise `auto` would prefer an engine.
    environment = clean_environment(INVOKE_STACK_RUNTIME="local")
    stack = LocalStack(copy_checkout(folder), environment=environment)
    try:
        yield stack
    finally:
        stack.inv("down", "--volumes", "--yes", "--runtime", "local")
