"""Run the backend's commands and servers as real processes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import psutil

from harness import servers

ROOT = Path(__file__).parents[3]
BIN = Path(sys.executable).parent


def backend_environment(environment: Mapping[str, str]) -> dict[str, str]:
    return {**environment, "PYTHONPATH": str(ROOT / "backend"), "PYTHONUNBUFFERED": "1"}


def run(
    *command: str, env: Mapping[str, str], cwd: Path = ROOT, timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run a command of the virtual environment and return its result."""
    return subprocess.run(
        [BIN / command[0], *command[1:]],
        env=backend_environment(env),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def migrate(env: Mapping[str, str], revision: str = "head", cwd: Path = ROOT) -> None:
    result = run("alembic", "upgrade", revision, env=env, cwd=cwd)
    assert result.returncode == 0, result.stderr


def add_revision(project: Path, name: str, code: str, after: str = "0003_deals_newest") -> Path:
    """Add a revision to a project. Its `upgrade` runs `code`, one statement per line."""
    lines = "".join(f"    {line}\n" for line in code.splitlines())
    file = project / "alembic" / "versions" / f"{name}.py"
    file.write_text(
        f'"""{name}."""\n\nfrom alembic import op\n\nrevision = "{name}"\n'
        f'down_revision = "{after}"\n\n\ndef upgrade() -> None:\n{lines}'
    )
    return file


class Process:
    """A long-running command and its child processes. Its output goes to a file."""

    def __init__(self, *command: str, env: Mapping[str, str], log: Path, cwd: Path = ROOT) -> None:
        self._log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [BIN / command[0], *command[1:]],
                env=backend_environment(env),
                cwd=cwd,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def log(self) -> str:
        return self._log.read_text("utf-8", "replace")

    def until(self, text: str, times: int = 1, seconds: float = 30) -> None:
        """Wait until the output contains `text` at least `times` times."""
        servers.wait_until(
            f"{text!r} in {self._log}", lambda: self.log().count(text) >= times, seconds
        )

    def kill(self) -> None:
        """Send SIGKILL to the process group, as if the machine lost power."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> None:
        children = []
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.process.pid).children(recursive=True)
        self.process.terminate()
        try:
            self.process.wait(15)
        finally:
            self.kill()
            psutil.wait_procs(children, 10)


@contextlib.contextmanager
def running(
    *command: str, env: Mapping[str, str], log: Path, cwd: Path = ROOT
) -> Iterator[Process]:
    process = Process(*command, env=env, log=log, cwd=cwd)
    try:
        yield process
    finally:
        process.stop()


class Api(httpx.Client):
    """A client of a running application, and the application's process."""

    def __init__(self, process: Process, port: int) -> None:
        super().__init__(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False)
        self.process = process

    def health(self) -> dict[str, object]:
        return self.get("/health").json()

    def until(self, path: str, status: int, seconds: float = 10) -> None:
        servers.wait_until(
            f"{path} answers {status}", lambda: self.get(path).status_code == status, seconds
        )


@contextlib.contextmanager
def serving(env: Mapping[str, str], folder: Path, cwd: Path = ROOT) -> Iterator[Api]:
    """Run the application under Uvicorn during the `with` block."""
    port = servers.free_port()
    command = ("uvicorn", "app.main:app", "--port", str(port))
    with running(*command, env=env, log=folder / f"api-{port}.log", cwd=cwd) as process:
        process.until("Application startup complete.")
        servers.wait_until("the application listens", lambda: servers.is_listening(port))
        with Api(process, port) as api:
            yield api
