"""Starts supervisord, and controls it through its socket."""

from __future__ import annotations

import hashlib
import http.client
import os
import socket
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from invoke_stack.errors import OutOfReach, Unsupervised
from invoke_stack.runtimes.local import orphans

COLLECTOR = "logs"  # the collector's program name
# A socket's path may have 108 bytes (104 on macOS), and supervisord appends its pid.
_SOCKET_LIMIT = 90  # bytes
_INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR")
_NO_RESPONSE = (OSError, http.client.HTTPException, xmlrpc.client.ProtocolError)
_SHUTTING_DOWN, _ALREADY_STARTED, _NOT_RUNNING = 6, 60, 70  # supervisor.xmlrpc.Faults
_STOPPED_STATES = ("STOPPED", "EXITED", "FATAL")


def socket_path(run: Path) -> Path:
    """Return the socket's path: in `run`, or in a private temporary folder if that is too long.

    Raises `OutOfReach` if that folder exists and other users can access it.
    """
    path = run / "supervisor.sock"
    if len(os.fsencode(path)) <= _SOCKET_LIMIT:
        return path
    key = hashlib.sha256(os.fsencode(run)).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"deal-scout-{os.getuid()}-{key}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    info = folder.lstat()
    if info.st_uid != os.getuid() or info.st_mode & 0o077 or not folder.is_dir():
        raise OutOfReach(f"{folder} is not a private folder of this user", f"remove {folder}")
    return folder / "supervisor.sock"


class Supervisor:
    """A client of one supervisord. Every call raises `OutOfReach` if it does not respond."""

    def __init__(self, run: Path) -> None:
        self.run = run

    def call(self, method: str, *arguments: Any) -> Any:
        """Return the result of an XML-RPC call. Raises `xmlrpc.client.Fault` if it is refused."""
        try:
            return self._send(method, *arguments)
        except _NO_RESPONSE:
            raise self._unavailable() from None
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == _SHUTTING_DOWN:
                raise OutOfReach("the stack is shutting down", "start it with: inv up") from None
            raise

    def _send(self, method: str, *arguments: Any) -> Any:
        # The transport connects to the socket, whose path is too long for some URLs.
        with xmlrpc.client.ServerProxy("http://supervisor", _Transport(self.run)) as proxy:
            return getattr(proxy, method)(*arguments)

    def _unavailable(self) -> OutOfReach:
        """Return the reason why supervisord does not respond."""
        remaining = []
        # After a clean exit there is no file, and no need to search all processes.
        if (self.run / "supervisord.pid").exists():
            remaining = orphans.processes(self.run.parent)
        if remaining:
            return Unsupervised(
                f"supervisord does not answer, but {len(remaining)} processes of the stack still run",
                "replace them with: inv up, or stop them with: inv down",
            )
        return OutOfReach("the stack is not up", "start it with: inv up")

    def is_responding(self) -> bool:
        """Return True if supervisord responds to a call."""
        with suppress(OutOfReach, *_NO_RESPONSE):
            return bool(self._send("supervisor.getPID"))
        return False

    def processes(self) -> dict[str, Mapping[str, Any]]:
        """Return supervisord's description of each program, by name."""
        return {info["name"]: info for info in self.call("supervisor.getAllProcessInfo")}

    def start(self, name: str) -> None:
        """Request the start of a program, unless it already runs."""
        self._call_ignoring(_ALREADY_STARTED, "supervisor.startProcess", name, False)

    def stop(self, *names: str) -> None:
        """Stop programs and wait for them, at most for their grace periods."""
        for name in names:
            self._call_ignoring(_NOT_RUNNING, "supervisor.stopProcess", name, False)

        def are_stopped() -> bool:
            processes = self.processes()
            return all(processes[name]["statename"] in _STOPPED_STATES for name in names)

        wait_until(are_stopped)

    def restart(self, name: str) -> None:
        """Stop a program, start it again, and wait until both are done.

        supervisord completes the request even if this process ends meanwhile. Since it drops a
        request whose connection is closed, a `cat` process holds the connection open as well.
        """
        calls = [("stopProcess", (name, True)), ("startProcess", (name, False))]
        body = xmlrpc.client.dumps(
            (
                [
                    {"methodName": f"supervisor.{method}", "params": params}
                    for method, params in calls
                ],
            ),
            "system.multicall",
        )
        try:
            connection = _UnixConnection(str(socket_path(self.run)))
            connection.connect()
            with closing(connection):
                # With a timeout the socket would be non-blocking, and `cat` would fail with EAGAIN.
                connection.sock.settimeout(None)
                holder = subprocess.Popen(
                    ["cat"],
                    stdin=connection.sock.fileno(),
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,  # ours may be a pipe, which it would keep open
                    start_new_session=True,  # Ctrl-C must not reach it
                )
                connection.request(
                    "POST", "/RPC2", body, {"Content-Type": "text/xml", "Connection": "close"}
                )
        except OSError:
            raise self._unavailable() from None

        def has_responded() -> bool:
            self.processes()  # each call wakes supervisord's loop, which otherwise takes a second
            return holder.poll() is not None

        wait_until(has_responded)
        body_bytes = holder.communicate()[0].partition(b"\r\n\r\n")[2]
        if not body_bytes:
            raise OutOfReach("supervisord exited during the restart", "start it with: inv up")
        response: Any = xmlrpc.client.loads(body_bytes)[0]
        for result in response[0]:
            code = result.get("faultCode") if isinstance(result, dict) else None
            if code not in (None, _NOT_RUNNING, _ALREADY_STARTED):
                raise OutOfReach(f"supervisord: {result['faultString']}", "see: inv logs")

    def shut_down(self) -> None:
        """Stop supervisord with all its programs, and wait until it has exited."""
        pid = self.call("supervisor.getPID")
        self.call("supervisor.shutdown")

        def has_exited() -> bool:
            # Each call wakes supervisord's loop, which otherwise takes a second for each program.
            with suppress(xmlrpc.client.Fault):
                self.is_responding()
            return not _is_alive(pid)

        wait_until(has_exited)

    def apply(self, names: Iterable[str]) -> list[str]:
        """Reload the configuration file; return which of `names` were added or changed.

        Changed programs are stopped, and not started again.
        """
        added, changed, removed = self.call("supervisor.reloadConfig")[0]
        for name in (*changed, *removed):
            self.stop(name)
            self.call("supervisor.removeProcessGroup", name)
        for name in (*changed, *added):
            self.call("supervisor.addProcessGroup", name)
        return [name for name in names if name in {*added, *changed}]

    def _call_ignoring(self, code: int, method: str, *arguments: Any) -> None:
        try:
            self.call(method, *arguments)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != code:
                raise OutOfReach(f"supervisord: {fault.faultString}", "see: inv logs") from None


class _Transport(xmlrpc.client.Transport):
    def __init__(self, run: Path) -> None:
        super().__init__()
        self.run = run

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        return _UnixConnection(str(socket_path(self.run)))


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("supervisor", timeout=10)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def launch(run: Path, state: str) -> Supervisor:
    """Start a supervisord that outlives this process, and wait until it responds."""
    supervisor = Supervisor(run)
    output = run / "supervisord.out"
    output.touch(mode=0o600)
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "-c", "supervisord.conf"],
            cwd=run,
            env=clean_environment() | {orphans.STATE_VARIABLE: state},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
            umask=0o077,
        )
    with suppress(TimeoutError):
        wait_until(lambda: process.poll() is not None or supervisor.is_responding(), seconds=30)
    if not supervisor.is_responding():
        process.kill()
        lines = output.read_text("utf-8", "replace").strip().splitlines()
        reason = [line for line in lines if not line.startswith("For help")][-1:]
        raise OutOfReach(
            f"supervisord did not start: {' '.join(reason)}", f"check that you can write to {run}"
        )
    return supervisor


def clean_environment() -> dict[str, str]:
    """Return the caller's environment without variables that could change what services use."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in _INHERITED
        or name.startswith(("LC_", "SSL_CERT_"))
        or name.upper().endswith("_PROXY")
    }


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(
    condition: Callable[[], object], seconds: float = 120.0, pause: float = 0.02
) -> None:
    """Wait until `condition()` is true. Raises `TimeoutError` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(pause)
