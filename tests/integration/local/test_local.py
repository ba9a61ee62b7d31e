"""What only the local runtime promises: it recovers from anything, and keeps to its folder."""

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


def ours(stack):
    return orphans.processes(stack.state)


def add_deal(stack, number):
    deal = {"title": f"deal {number}", "url": f"https://example.com/{number}", "price": "9.99"}
    deal |= {"currency": "EUR", "source": "test"}
    assert httpx.post(stack.url() + "/deals", json=deal, trust_env=False).status_code == 201


def deals(stack):
    return httpx.get(stack.url() + "/deals?source=test", trust_env=False).json()["total"]


def test_only_its_owner_can_look_into_it(stack):
    assert stat.S_IMODE(stack.state.stat().st_mode) == 0o700
    for path in [stack.state / "stack.json", *(stack.state / "run").glob("*.sh")]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_data_survives_down_and_up(stack):
    add_deal(stack, 1)
    ports = json.loads((stack.state / "stack.json").read_text())["ports"]
    stack.ok("down")
    assert ours(stack) == []
    result = stack.inv("status")
    assert (result.returncode, "inv up" in result.stderr) == (4, True)
    stack.ok("down")  # once more is harmless
    stack.ok("up")
    assert deals(stack) == 1
    assert json.loads((stack.state / "stack.json").read_text())["ports"] == ports


def test_up_recovers_from_a_killed_supervisord(stack):
    before = deals(stack)
    add_deal(stack, 2)
    os.kill(supervisor_pid(stack), signal.SIGKILL)
    wait_until("it is gone", lambda: stack.inv("status").returncode == 4)
    assert ours(stack)  # the services go on, with nobody to watch them
    for verb in ("status", "health"):
        assert "processes of the stack still run" in stack.inv(verb).stderr
    assert "still run" in stack.ok("down", "--dry-run")
    result = stack.inv("up")
    assert result.returncode == 0, result
    assert "left behind" in result.stderr
    assert deals(stack) == before + 1
    names = [p.name() for p in ours(stack)]
    assert names.count("valkey-server") == 1


def test_down_ends_what_a_killed_supervisord_left_and_says_so(stack):
    os.kill(supervisor_pid(stack), signal.SIGKILL)
    result = stack.inv("down")
    assert "left behind" in result.stderr
    assert "not up" not in result.stderr
    assert ours(stack) == []
    stack.ok("up")


def test_down_needs_no_password(stack):
    file = stack.state / "stack.json"
    whole = file.read_text()
    try:
        file.write_text("{")
        assert "backend" in stack.ok("down", "--dry-run")
        stack.ok("down")
        assert ours(stack) == []
    finally:
        file.write_text(whole)
    stack.ok("up")


@pytest.mark.parametrize("what", [".", "run"])
def test_a_folder_that_cannot_be_written_is_named(tmp_path, what):
    with local_stack(tmp_path / "s") as stack:
        folder = stack.state / what
        folder.mkdir(parents=True)
        (stack.state / "lock").touch()
        with read_only(folder):
            result = stack.inv("up")
        assert result.returncode == 4, result.stderr
        assert f"cannot write {folder}" in result.stderr


@contextlib.contextmanager
def read_only(folder):
    """For root as well, where the file system can."""
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


def test_up_recovers_when_everything_was_killed(stack):
    before = deals(stack)
    add_deal(stack, 3)
    pidfile = stack.state / "postgres" / "postmaster.pid"
    for process in ours(stack):
        with contextlib.suppress(psutil.Error):
            process.kill()
    assert pidfile.exists()  # stale now
    stack.ok("up")
    assert deals(stack) == before + 1


def test_a_stale_pidfile_that_names_another_process_is_no_obstacle(stack):
    stack.ok("down")
    pid = stack.state / "run" / "supervisord.pid"
    pid.write_text(f"{os.getpid()}\n")
    (stack.state / "run" / "supervisor.sock").touch()
    stack.ok("up")


def test_up_recovers_from_a_half_finished_first_set_up(tmp_path):
    with local_stack(tmp_path / "s") as stack:
        # As if `up` had been killed in the middle of initdb.
        half = stack.state / "postgres.new" / "data" / "base"
        half.mkdir(parents=True)
        (stack.state / "run").mkdir()
        stack.ok("up")
        assert not (stack.state / "postgres.new").exists()


def test_up_gives_the_data_new_passwords_when_they_are_lost(tmp_path):
    with local_stack(tmp_path / "s") as stack:
        stack.ok("up")
        stack.run("postgres", "psql", "-c", "CREATE TABLE kept ()")
        file = stack.state / "stack.json"
        first = file.read_text()
        file.unlink()
        result = stack.inv("up")  # while it runs
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
        assert json.loads(file.read_text())["postgres_password"] not in first
        assert stack.is_healthy()
        stack.run("postgres", "psql", "-c", "SELECT FROM kept")


def test_a_second_change_is_told_who_holds_the_lock(stack):
    first = stack.begin(
        "restart-backend",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until("it holds the lock", (stack.state / "lock.json").exists)
    result = stack.inv("up")
    assert first.wait(60) == 0
    assert result.returncode == 4
    assert f"`inv restart backend` (process {first.pid}, since " in result.stderr
    stack.ok("up")


@pytest.mark.parametrize("how", ["timeout", "SIGINT", "SIGTERM", "SIGKILL"])
def test_a_restart_is_finished_though_the_verb_is_gone(stack, how):
    """Somebody must start what was told to stop."""
    before = stack.service("worker")["started_at"]
    old = stack.pids("worker")[0]
    os.kill(old, signal.SIGSTOP)  # it hears SIGTERM when it goes on
    words = ["restart", "worker", "--no-logs", "--timeout", "1" if how == "timeout" else "60"]
    verb = stack.begin(
        *words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until("it stops", lambda: process_state(stack, "worker") == "STOPPING")
    if how != "timeout":
        verb.send_signal(getattr(signal, how))
    said, _ = verb.communicate(timeout=30)
    if how == "timeout":
        assert verb.returncode == 3
        assert "after -" not in said
        assert "the restart continues" in said
    assert process_state(stack, "worker") == "STOPPING"
    os.kill(old, signal.SIGCONT)
    wait_until("it runs anew", lambda: process_state(stack, "worker") == "RUNNING")
    assert stack.service("worker")["started_at"] > before


def process_state(stack, service):
    return Supervisor(stack.state / "run").processes()[service]["statename"]


def test_ports_that_somebody_took_meanwhile_are_replaced(stack):
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


def test_a_changed_variable_recreates_only_what_it_concerns(stack):
    before = {s["name"]: s["started_at"] for s in stack.json("status")["services"]}
    result = stack.inv("up", env={"ALEMBIC_CMD": "alembic upgrade 'head'"})
    assert result.returncode == 0, result
    after = {s["name"]: s["started_at"] for s in stack.json("status")["services"]}
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"backend", "worker", "beat"}
    stack.ok("up")


@pytest.mark.parametrize("ready", ["", "/openapi.json", "http://127.0.0.1:1/other"])
def test_the_backend_is_probed_whatever_stack_ready_says(stack, ready):
    services = stack.json("status", env={"INVOKE_STACK_READY": ready})["services"]
    assert {each["health"] for each in services} == {"healthy"}


def test_variables_of_somebody_elses_stack_are_ignored(stack):
    stray = {
        "DATABASE_URL": "postgresql://u:p@192.0.2.1/prod",
        "DB_HOST": "192.0.2.1",
        "REDIS_URL": "redis://192.0.2.1/0",
        "PORT": "1",
        "PGHOST": "192.0.2.1",
        "PGOPTIONS": "-c default_transaction_read_only=on",
    }
    stack.ok("down")
    stack.ok("up", env=stray)
    assert stack.inv("health", env=stray).returncode == 0
    assert stack.json("migrations", env=stray)["pending"] == []


@pytest.mark.parametrize("length", [150])
def test_long_paths_with_blanks_and_letters_of_other_alphabets(tmp_path, length):
    folder = tmp_path / ("a folder; with #50% 'é 漢' " + "x" * length)
    with local_stack(folder) as stack:
        stack.ok("up")
        assert len(str(stack.state / "run" / "supervisor.sock")) > 108
        assert stack.is_healthy()
        assert stack.json("restart-backend")["verdict"] == "healthy"
        shown = supervise.socket_path(stack.state / "run")
        assert stat.S_IMODE(shown.parent.stat().st_mode) == 0o700


def test_two_checkouts_run_side_by_side(stack, tmp_path):
    with local_stack(tmp_path / "other") as other:
        other.ok("up")
        assert other.url() != stack.url()
        other.ok("down")
        assert stack.is_healthy()


def test_a_closed_parent_folder_keeps_its_permissions(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    users = Path("/etc/passwd").read_bytes()
    with local_stack(closed / "checkout") as stack:
        stack.ok("up")
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700
        assert Path("/etc/passwd").read_bytes() == users
        assert stack.is_healthy()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="the other tests run as one")
def test_an_ordinary_user_needs_nothing_special(tmp_path):
    # In a user namespace we are `nobody`, without any privilege, and can still read the Python
    # that root installed for itself.
    user = pwd.getpwnam("nobody")
    words = ["unshare", "--user", f"--map-user={user.pw_uid}", f"--map-group={user.pw_gid}", "--"]
    if subprocess.run([*words, "true"]).returncode:
        pytest.skip("this system forbids user namespaces")
    with local_stack(tmp_path / "checkout") as stack:
        plain = stack.command
        stack.command = lambda *verb: [*words, *plain(*verb)]
        stack.ok("up")
        assert stack.is_healthy()
        assert "unshare" not in (stack.state / "run" / "postgres.sh").read_text()
        assert stack.json("restart-backend")["verdict"] == "healthy"
        stack.ok("down")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root needs a way around")
def test_root_without_user_namespaces_uses_a_capability(tmp_path, monkeypatch):
    find = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "unshare" else find(name))
    embedded._unprivileged.cache_clear()
    try:
        assert embedded.unprivileged()[0] == "setpriv"
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o700)
        embedded.create_cluster(closed / "data", user="u", password="p", database="d")
        assert (closed / "data" / "PG_VERSION").exists()
        assert (closed / "data").stat().st_uid != 0
        monkeypatch.setattr(shutil, "which", lambda name: None)
        embedded._unprivileged.cache_clear()
        with pytest.raises(embedded.OutOfReach, match="refuses to run as root"):
            embedded.unprivileged()
    finally:
        embedded._unprivileged.cache_clear()


def test_down_with_volumes_asks_and_then_deletes(tmp_path):
    with local_stack(tmp_path / "s") as stack:
        stack.ok("up")
        asked = stack.inv("down", "--volumes")
        assert asked.returncode == 2
        assert "Delete .local/postgres, .local/redis, .local/logs, .local/run" in asked.stderr
        assert stack.is_healthy()
        stack.ok("down", "--volumes", "--yes")
        left = {path.name for path in stack.state.iterdir()}
        assert left <= {"lock"}
