"""supervisord: starting it, and a client for its socket."""

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

COLLECTOR = "logs"  # the collector's name among the programs
_SOCKET_LIMIT = 90  # bytes; a socket's path has 108 (104 on macOS), supervisord appends its pid


def socket_path(run: Path) -> Path:
    """Where the socket is: in `run`, or in a private folder elsewhere when that path is too long.

    Raises `OutOfReach` when that folder exists and is not ours alone.
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
        raise OutOfReach(f"{folder} is not a private folder of yours", f"remove {folder}")
    return folder / "supervisor.sock"


class Supervisor:
    """A client of one supervisord. Every call raises `OutOfReach` when it does not answer."""

    def __init__(self, run: Path) -> None:
        self.run = run

    def call(self, method: str, *arguments: Any) -> Any:
        """One XML-RPC call. Raises `xmlrpc.client.Fault` for what supervisord refuses."""
        try:
            return self._ask(method, *arguments)
        except _NO_ANSWER:
            raise self._away() from None
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == _SHUTTING_DOWN:
                raise OutOfReach("the stack is being taken down", "start it with: inv up") from None
            raise

    def _ask(self, method: str, *arguments: Any) -> Any:
        # The socket's path is too long for some URLs, and its transport needs none.
        with xmlrpc.client.ServerProxy("http://supervisor", _Transport(self.run)) as proxy:
            return getattr(proxy, method)(*arguments)

    def _away(self) -> OutOfReach:
        """Why it does not answer. The processes are looked at only where it did not end well."""
        left = []
        if (self.run / "supervisord.pid").exists():
            left = orphans.processes(self.run.parent)
        if left:
            return Unsupervised(
                f"supervisord does not answer, and {len(left)} processes of the stack still run",
                "take them over with: inv up, or end them with: inv down",
            )
        return OutOfReach("the stack is not up", "start it with: inv up")

    def answers(self) -> bool:
        with suppress(OutOfReach, *_NO_ANSWER):
            return bool(self._ask("supervisor.getPID"))
        return False

    def processes(self) -> dict[str, Mapping[str, Any]]:
        """supervisord's own description of each program, by name."""
        return {info["name"]: info for info in self.call("supervisor.getAllProcessInfo")}

    def start(self, name: str) -> None:
        """Ask for a start; nothing happens when it runs already."""
        self._tolerating(_ALREADY_STARTED, "supervisor.startProcess", name, False)

    def stop(self, *names: str) -> None:
        """Ask for stops, and wait until they have happened; the grace periods bound that."""
        for name in names:
            self._tolerating(_NOT_RUNNING, "supervisor.stopProcess", name, False)

        def at_rest() -> bool:
            processes = self.processes()
            return all(processes[name]["statename"] in _AT_REST for name in names)

        poll(at_rest)

    def restart(self, name: str) -> None:
        """Have supervisord stop a program and start it again, and wait until it has.

        From the request on it does both by itself, even if this process ends meanwhile. It would
        forget a request whose connection is closed, so another process holds that as well.
        """
        calls = [("stopProcess", (name, True)), ("startProcess", (name, False))]
        body = xmlrpc.client.dumps(
            ([{"methodName": f"supervisor.{call}", "params": given} for call, given in calls],),
            "system.multicall",
        )
        try:
            connection = _UnixConnection(str(socket_path(self.run)))
            connection.connect()
            with closing(connection):
                connection.sock.settimeout(None)  # or `cat` would be told to try again
                holder = subprocess.Popen(
                    ["cat"],
                    stdin=connection.sock.fileno(),
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,  # whoever reads ours does not wait for its end
                    start_new_session=True,  # Ctrl-C is not for it
                )
                connection.request(
                    "POST", "/RPC2", body, {"Content-Type": "text/xml", "Connection": "close"}
                )
        except OSError:
            raise self._away() from None

        def answered() -> bool:
            self.processes()  # each call wakes its loop, which otherwise takes a second
            return holder.poll() is not None

        poll(answered)
        reply = holder.communicate()[0].partition(b"\r\n\r\n")[2]
        if not reply:
            raise OutOfReach("supervisord ended meanwhile", "start it with: inv up")
        answer: Any = xmlrpc.client.loads(reply)[0]
        for result in answer[0]:
            code = result.get("faultCode") if isinstance(result, dict) else None
            if code not in (None, _NOT_RUNNING, _ALREADY_STARTED):
                raise OutOfReach(f"supervisord: {result['faultString']}", "look at: inv logs")

    def shut_down(self) -> None:
        """End supervisord and whatever it still runs, and wait until it is gone."""
        pid = self.call("supervisor.getPID")
        self.call("supervisor.shutdown")

        def gone() -> bool:
            # Each call wakes its loop, which otherwise takes a second for each program.
            with suppress(xmlrpc.client.Fault):
                self.answers()
            return not _is_alive(pid)

        poll(gone)

    def apply(self, names: Iterable[str]) -> list[str]:
        """Take over a changed configuration file; returns the programs that changed.

        Those are stopped, and known by their new command afterwards.
        """
        added, changed, removed = self.call("supervisor.reloadConfig")[0]
        for name in (*changed, *removed):
            self.stop(name)
            self.call("supervisor.removeProcessGroup", name)
        for name in (*changed, *added):
            self.call("supervisor.addProcessGroup", name)
        return [name for name in names if name in {*added, *changed}]

    def _tolerating(self, code: int, method: str, *arguments: Any) -> None:
        try:
            self.call(method, *arguments)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != code:
                raise OutOfReach(f"supervisord: {fault.faultString}", "look at: inv logs") from None


_NO_ANSWER = (OSError, http.client.HTTPException, xmlrpc.client.ProtocolError)
_SHUTTING_DOWN, _ALREADY_STARTED, _NOT_RUNNING = 6, 60, 70  # supervisor.xmlrpc.Faults
_AT_REST = ("STOPPED", "EXITED", "FATAL")


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


def launch(run: Path, mark: str) -> Supervisor:
    """Start a supervisord that outlives us, and wait until it answers."""
    supervisor = Supervisor(run)
    told = run / "supervisord.out"
    told.touch(mode=0o600)
    with told.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "-c", "supervisord.conf"],
            cwd=run,
            env=clean_environment() | {orphans.MARK: mark},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            umask=0o077,
        )
    with suppress(TimeoutError):
        poll(lambda: process.poll() is not None or supervisor.answers(), seconds=30)
    if not supervisor.answers():
        process.kill()
        lines = told.read_text("utf-8", "replace").strip().splitlines()
        last = [line for line in lines if not line.startswith("For help")][-1:]
        raise OutOfReach(
            f"supervisord did not start: {' '.join(last)}", f"see that you may write into {run}"
        )
    return supervisor


def clean_environment() -> dict[str, str]:
    """What services get of the caller's environment: nothing that could lead them elsewhere."""
    kept = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR")
    return {
        name: value
        for name, value in os.environ.items()
        if name in kept or name.startswith(("LC_", "SSL_CERT_")) or name.upper().endswith("_PROXY")
    }


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def poll(done: Callable[[], object], seconds: float = 120.0, pause: float = 0.02) -> None:
    """Wait until `done()`. Raises `TimeoutError` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(pause)
