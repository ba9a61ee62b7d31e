"""Run the real entrypoint with stubs for the commands that it starts."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import psutil

from harness import servers

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "backend" / "entrypoint.sh"
BANNER = "=" * 44
MARK = "BOOT_TEST"  # in the environment of every process that a boot starts

# A minimal application that takes over the socket as the real one does.
APPLICATION = """
import os
from app.boot.startup import stop_responder

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        stop_responder()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
    else:
        body = b'{"phase": "serving"}'
        length = (b"content-length", str(len(body)).encode())
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": body})
"""


class Boot:
    """A boot in `folder`, with `folder/bin` first in PATH and `folder` in PYTHONPATH."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self.folder = folder
        self.mark = uuid.uuid4().hex
        self.port = servers.free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.bin = folder / "bin"
        self.bin.mkdir()
        path = [self.bin, ROOT / ".venv" / "bin", environ["PATH"]]
        modules = [ROOT / "backend", folder]
        self.environ = {
            **environ,
            MARK: self.mark,
            "PATH": os.pathsep.join(map(str, path)),
            "PYTHONPATH": os.pathsep.join(map(str, modules)),
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "RUN_DIR": str(folder),
        }
        (folder / "application.py").write_text(APPLICATION)
        self.stub("uvicorn", 'echo "uvicorn $*"; exec sleep 1000')
        self.stub("alembic", 'echo "alembic $*"')

    def use_shell(self, path: str) -> Boot:
        (self.bin / "sh").symlink_to(path)
        return self

    def stub(self, name: str, script: str) -> None:
        """Add a shell script to PATH. It may use $FOLDER."""
        file = self.bin / name
        file.write_text(f"#!/bin/sh\nFOLDER='{self.folder}'\n{script}\n")
        file.chmod(0o755)

    def start(self, *prefix: str, **variables: str) -> Boot:
        with (self.folder / "out").open("wb") as out, (self.folder / "err").open("wb") as err:
            self.process = subprocess.Popen(
                [*prefix, "sh", str(SCRIPT)],
                env=self.environ | variables,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        return self

    @property
    def out(self) -> str:
        return (self.folder / "out").read_text("utf-8")

    @property
    def err(self) -> str:
        return (self.folder / "err").read_text("utf-8", "replace")

    @property
    def markers(self) -> list[str]:
        """The lines of the entrypoint, without the prefix."""
        return [
            line.removeprefix("[entrypoint] ")
            for line in self.out.splitlines()
            if line.startswith("[entrypoint] ")
        ]

    def migration_markers(self) -> list[str]:
        """Return the markers after the one that announces the migrations."""
        return self.markers[self.markers.index("Running database migrations...") + 1 :]

    @property
    def state(self) -> dict[str, str]:
        with contextlib.suppress(OSError):
            lines = (self.folder / "boot").read_text("utf-8").splitlines()
            return dict(line.split("=", 1) for line in lines)
        return {}

    def until(self, line: str, seconds: float = 60.0) -> Boot:
        """Wait for a marker that starts with `line`."""

        def is_logged() -> bool:
            assert self.process.poll() is None or any(m.startswith(line) for m in self.markers)
            return any(marker.startswith(line) for marker in self.markers)

        try:
            servers.wait_until(line, is_logged, seconds)
        except AssertionError as error:
            raise AssertionError(f"{line!r} not in:\n{self.out}\n{self.err}") from error
        return self

    def wait_until_serving(self) -> Boot:
        return self.until("Starting Uvicorn application...")

    def ask(
        self, path: str, method: str = "GET", body: str | None = None
    ) -> tuple[int, dict[str, str], str]:
        """Return the status, the headers with lower-case names and the text of one response."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.closing(connection):
            connection.request(method, path, body)
            response = connection.getresponse()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return response.status, headers, response.read().decode()

    def health(self) -> dict[str, object]:
        return json.loads(self.ask("/health")[2])

    def wait_until_listening(self) -> Boot:
        servers.wait_until("PORT answers", lambda: servers.is_listening(self.port))
        return self

    def end(self, how: signal.Signals = signal.SIGTERM, seconds: float = 20.0) -> tuple[int, float]:
        """Send a signal and return the exit code and the duration in seconds."""
        started_at = time.monotonic()
        self.process.send_signal(how)
        code = self.process.wait(seconds)
        return code, time.monotonic() - started_at

    def family(self) -> list[psutil.Process]:
        """Return every running process of this boot."""
        processes = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                has_mark = process.environ().get(MARK) == self.mark
                if has_mark and process.status() != psutil.STATUS_ZOMBIE:
                    processes.append(process)
        return processes

    def commands(self) -> list[str]:
        commands = []
        for process in self.family():
            with contextlib.suppress(psutil.Error):
                commands.append(" ".join(process.cmdline()))
        return commands

    def clean_up(self) -> None:
        """Kill all processes of this boot, and check that the output contains no secret."""
        if self.process:
            # By its id: during an exec, the environment of a process cannot be read.
            self.process.kill()
            self.process.wait(10)
        for process in self.family():
            with contextlib.suppress(psutil.Error):
                process.kill()
        if self.process:
            for secret in (servers.PASSWORD, quote(servers.PASSWORD, safe="")):
                assert secret not in self.out + self.err
