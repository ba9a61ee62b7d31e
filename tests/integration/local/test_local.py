"""What only the local runtime guarantees: it recovers from crashes, and stays in its folder."""

import contextlib
import json
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from harness.servers import wait_until
from harness.stacks import local_stack
from invoke_stack.runtimes.local import embedded, orphans, supervise
from invoke_stack.runtimes.local.supervise import Supervisor

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="there is no local runtime"),
]


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    with local_stack(tmp_path_factory.mktemp("local")) as running:
        running.ok("up")
        yield running


def supervisor_pid(stack):
    return Supervisor(stack.state / "run").call("supervisor.getPID")


def processes(stack):
    return orphans.processes(stack.state)


def add_deal(stack, number):
    deal = {"title": f"deal {number}", "url": f"https://example.com/{number}", "price": "9.99"}
    deal |= {"currency": "EUR", "source": "test"}
    assert httpx.post(stack.url() + "/deals", json=deal, trust_env=False).status_code == 201


def deals(stack):
    return httpx.get(stack.url() + "/deals?source=test", trust_env=False).json()["total"]


def test_state_folder_is_readable_by_its_owner_only(stack):
    assert stat.S_IMODE(stack.state.stat().st_mode) == 0o700
    for path in [stack.state / "stack.json", *(stack.state / "run").glob("*.sh")]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_data_and_ports_survive_down_and_up(stack):
    add_deal(stack, 1)
    ports = json.loads((stack.state / "stack.json").read_text())["ports"]
    stack.ok("down")
    assert processes(stack) == []
    result = stack.inv("status")
    assert (result.returncode, "inv up" in result.stderr) == (4, True)
    stack.ok("down")  # a second time
    stack.ok("up")
    assert deals(stack) == 1
    assert json.loads((stack.state / "stack.json").read_text())["ports"] == ports


def test_up_recovers_from_a_killed_supervisord(stack):
    before = deals(stack)
    add_deal(stack, 2)
    os.kill(supervisor_pid(stack), signal.SIGKILL)
    wait_until("supervisord is gone", lambda: stack.inv("status").returncode == 4)
    assert processes(stack)  # the services still run
    for verb in ("status", "health"):
        assert "processes of the stack still run" in stack.inv(verb).stderr
    assert "still run" in stack.ok("down", "--dry-run")
    result = stack.inv("up")
    assert result.returncode == 0, result
    assert "left by a killed supervisord" in result.stderr
    assert deals(stack) == before + 1
    names = [process.name() for process in processes(stack)]
    assert names.count("valkey-server") == 1


def test_down_stops_the_processes_of_a_killed_supervisord(stack):
    os.kill(supervisor_pid(stack), signal.SIGKILL)
    result = stack.inv("down")
    assert "left by a killed supervisord" in result.stderr
    assert "not up" not in result.stderr
    assert processes(stack) == []
    stack.ok("up")


def test_down_works_when_the_state_file_is_damaged(stack):
    file = stack.state / "stack.json"
    content = file.read_text()
    try:
        file.write_text("{")
        assert "backend" in stack.ok("down", "--dry-run")
        stack.ok("down")
        assert processes(stack) == []
    finally:
        file.write_text(content)
    stack.ok("up")


@pytest.mark.parametrize("name", [".", "run"])
def test_up_names_a_folder_that_cannot_be_written(tmp_path, name):
    with local_stack(tmp_path / "s") as stack:
        folder = stack.state / name
        folder.mkdir(parents=True)
        (stack.state / "lock").touch()
        with read_only(folder):
            result = stack.inv("up")
        assert result.returncode == 4, result.stderr
        assert f"cannot write {folder}" in result.stderr


@contextlib.contextmanager
def read_only(folder):
    """Make a folder read-only, also for root if the file system supports that."""
    if os.geteuid() == 0 and subprocess.run(["chattr", "+i", str(folder)]).returncode:
        pytest.skip("nothing is read-only to root here")
    folder.chmod(0o500) if os.geteuid() else None
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", str(folder)]) if os.geteuid() == 0 else folder.chmod(0o700)


def test_up_recovers_from_a_frozen_supervisord(stack):
    os.kill(supervisor_pid(stack), signal.SIGSTOP)
    stack.ok("up")


def test_up_recovers_when_all_processes_were_killed(stack):
    before = deals(stack)
    add_deal(stack, 3)
    pidfile = stack.state / "postgres" / "postmaster.pid"
    for process in processes(stack):
        with contextlib.suppress(psutil.Error):
            process.kill()
    assert pidfile.exists()  # stale now
    stack.ok("up")
    assert deals(stack) == before + 1


def test_up_ignores_a_stale_pidfile_that_names_another_process(stack):
    stack.ok("down")
    pidfile = stack.state / "run" / "supervisord.pid"
    pidfile.write_text(f"{os.getpid()}\n")
    (stack.state / "run" / "supervisor.sock").touch()
    stack.ok("up")


def test_up_recovers_from_an_interrupted_first_start(tmp_path):
    with local_stack(tmp_path / "s") as stack:
        # As if `up` had been killed during initdb.
        partial = stack.state / "postgres.new" / "data" / "base"
        partial.mkdir(parents=True)
        (stack.state / "run").mkdir()
        stack.ok("up")
        assert not (stack.state / "postgres.new").exists()


def test_up_sets_a_new_password_when_the_state_file_is_lost(tmp_path):
    with local_stack(tmp_path / "s") as stack:
        stack.ok("up")
        stack.run("postgres", "psql", "-c", "CREATE TABLE example ()")
        file = stack.state / "stack.json"
        original = file.read_text()
        file.unlink()
        result = stack.inv("up")  # while the stack runs
        assert result.returncode == 4
        assert "stack.json is missing" in result.stderr
        assert "inv down, then inv up" in result.stderr
        stack.ok("down")
        file.write_text("{")
        result = stack.inv("up")
        assert result.returncode == 2
        assert "stack.json is damaged" in result.stderr
        assert f"inv down, rm {file}, inv up" in result.stderr
        file.unlink()
        result = stack.inv("up")
        assert result.returncode == 0, result
        assert "the database gets a new password" in result.stderr
        assert json.loads(file.read_text())["postgres_password"] not in original
        assert stack.is_healthy()
        stack.run("postgres", "psql", "-c", "SELECT FROM example")


def test_up_names_the_holder_of_the_lock(stack):
    first = stack.start(
        "restart-backend",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until("the lock is held", (stack.state / "lock.json").exists)
    result = stack.inv("up")
    assert first.wait(60) == 0
    assert result.returncode == 4
    assert f"`inv restart backend` (process {first.pid}, since " in result.stderr
    stack.ok("up")


@pytest.mark.parametrize("ending", ["timeout", "SIGINT", "SIGTERM", "SIGKILL"])
def test_restart_is_completed_after_the_verb_has_ended(stack, ending):
    # A service that was stopped for a restart must be started again in any case.
    before = stack.service("worker")["started_at"]
    worker = stack.pids("worker")[0]
    os.kill(worker, signal.SIGSTOP)  # SIGTERM stays pending until SIGCONT
    timeout = "1" if ending == "timeout" else "60"
    verb = stack.start(
        *("restart", "worker", "--no-logs", "--timeout", timeout),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until("the worker is stopping", lambda: process_state(stack, "worker") == "STOPPING")
    if ending != "timeout":
        verb.send_signal(getattr(signal, ending))
    output, notices = verb.communicate(timeout=30)
    if ending == "timeout":
        assert verb.returncode == 3
        assert "after -" not in output
        assert "the restart continues" in output
    elif ending != "SIGKILL":
        assert "the restart of worker was requested and continues" in notices
    assert process_state(stack, "worker") == "STOPPING"
    os.kill(worker, signal.SIGCONT)
    wait_until("the worker runs again", lambda: process_state(stack, "worker") == "RUNNING")
    assert stack.service("worker")["started_at"] > before


def process_state(stack, service):
    return Supervisor(stack.state / "run").processes()[service]["statename"]


def test_up_replaces_a_port_that_is_taken(stack):
    stack.ok("down")
    port = json.loads((stack.state / "stack.json").read_text())["ports"]["backend"]
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        result = stack.inv("up")
    assert result.returncode == 0, result
    assert f"port {port} is taken: backend moves to" in result.stderr
    assert stack.is_healthy()


def test_up_recreates_only_the_services_that_use_a_changed_variable(stack):
    before = {s["name"]: s["started_at"] for s in stack.json("status")["services"]}
    result = stack.inv("up", env={"ALEMBIC_CMD": "alembic upgrade 'head'"})
    assert result.returncode == 0, result
    after = {s["name"]: s["started_at"] for s in stack.json("status")["services"]}
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"backend", "worker", "beat"}
    stack.ok("up")


@pytest.mark.parametrize("ready", ["", "/openapi.json", "http://127.0.0.1:1/other"])
def test_status_probes_the_backend_whatever_stack_ready_is(stack, ready):
    services = stack.json("status", env={"INVOKE_STACK_READY": ready})["services"]
    assert {service["health"] for service in services} == {"healthy"}


def test_up_ignores_connection_variables_of_the_environment(stack):
    foreign = {
        "DATABASE_URL": "postgresql://u:p@192.0.2.1/prod",
        "DB_HOST": "192.0.2.1",
        "REDIS_URL": "redis://192.0.2.1/0",
        "PORT": "1",
        "PGHOST": "192.0.2.1",
        "PGOPTIONS": "-c default_transaction_read_only=on",
    }
    stack.ok("down")
    stack.ok("up", env=foreign)
    assert stack.inv("health", env=foreign).returncode == 0
    assert stack.json("migrations", env=foreign)["pending"] == []


@pytest.mark.parametrize("length", [150])
def test_up_works_in_a_long_path_with_special_characters(tmp_path, length):
    folder = tmp_path / ("a folder; with #50% 'é 漢' " + "x" * length)
    with local_stack(folder) as stack:
        stack.ok("up")
        assert len(str(stack.state / "run" / "supervisor.sock")) > 108
        assert stack.is_healthy()
        assert stack.json("restart-backend")["verdict"] == "healthy"
        socket_path = supervise.socket_path(stack.state / "run")
        assert stat.S_IMODE(socket_path.parent.stat().st_mode) == 0o700


def test_up_runs_beside_the_stack_of_another_checkout(stack, tmp_path):
    with local_stack(tmp_path / "other") as other:
        other.ok("up")
        assert other.url() != stack.url()
        other.ok("down")
        assert stack.is_healthy()


def test_up_keeps_the_permissions_of_a_private_parent_folder(tmp_path):
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    users = Path("/etc/passwd").read_bytes()
    with local_stack(private / "checkout") as stack:
        stack.ok("up")
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
        assert Path("/etc/passwd").read_bytes() == users
        assert stack.is_healthy()


@pytest.mark.skipif(
    os.name != "posix" or os.geteuid() != 0, reason="not root: covered by all other tests"
)
def test_up_needs_no_prefix_as_an_ordinary_user(tmp_path):
    # In a user namespace the test runs as `nobody`, without privileges, and can still read the
    # Python that root installed for itself.
    user = pwd.getpwnam("nobody")
    prefix = ["unshare", "--user", f"--map-user={user.pw_uid}", f"--map-group={user.pw_gid}", "--"]
    if subprocess.run([*prefix, "true"]).returncode:
        pytest.skip("this system forbids user namespaces")
    with local_stack(tmp_path / "checkout") as stack:
        command = stack.command
        stack.command = lambda *arguments: [*prefix, *command(*arguments)]
        stack.ok("up")
        assert stack.is_healthy()
        assert "unshare" not in (stack.state / "run" / "postgres.sh").read_text()
        assert stack.json("restart-backend")["verdict"] == "healthy"
        stack.ok("down")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs root")
def test_create_cluster_uses_a_capability_as_root_without_user_namespaces(tmp_path, monkeypatch):
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "unshare" else which(name))
    embedded._unprivileged_prefix.cache_clear()
    try:
        assert embedded.unprivileged_prefix()[0] == "setpriv"
        private = tmp_path / "private"
        private.mkdir(mode=0o700)
        embedded.create_cluster(private / "data", user="u", password="p", database="d")
        assert (private / "data" / "PG_VERSION").exists()
        assert (private / "data").stat().st_uid != 0
        monkeypatch.setattr(shutil, "which", lambda name: None)
        embedded._unprivileged_prefix.cache_clear()
        with pytest.raises(embedded.OutOfReach, match="refuses to run as root"):
            embedded.unprivileged_prefix()
    finally:
        embedded._unprivileged_prefix.cache_clear()


def test_down_volumes_asks_for_confirmation_and_deletes_the_data(tmp_path):
    with local_stack(tmp_path / "s") as stack:
        stack.ok("up")
        result = stack.inv("down", "--volumes")
        assert result.returncode == 2
        assert "Delete .local/postgres, .local/redis, .local/logs, .local/run" in result.stderr
        assert stack.is_healthy()
        stack.ok("down", "--volumes", "--yes")
        remaining = {path.name for path in stack.state.iterdir()}
        assert remaining <= {"lock"}
