"""Failing boots of the whole stack: the verdict, and how the backend recovers."""

import contextlib
import os
import pty
import re
import signal
import socket
import subprocess
import sys

import psutil
import pytest

from harness.servers import wait_until
from harness.stacks import local_stack
from invoke_stack.runtimes.local.supervise import Supervisor
from tests.support.terminal import terminal

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="there is no local runtime"),
]

SETTINGS = "MIGRATE_DELAYS=0.3 0.3 0.3\nDB_WAIT_TIMEOUT=4\n"
BROKEN = '''"""A migration that always fails."""

from alembic import op

revision = "9999_broken"
down_revision = "{head}"


def upgrade():
    op.execute("ALTER TABLE no_such_table ADD COLUMN x int")


def downgrade():
    pass
'''


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    with local_stack(tmp_path_factory.mktemp("boots")) as running:
        (running.root / ".env").write_text(SETTINGS)
        running.ok("up")
        yield running


@pytest.fixture(autouse=True)
def _wait_until_healthy(stack):
    yield
    wait_until("the stack is healthy again", stack.is_healthy, 60)


@contextlib.contextmanager
def frozen(stack, service):
    """Suspend every process of a service: it accepts connections and never answers."""
    processes = [psutil.Process(pid) for pid in stack.pids(service)]
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()


@contextlib.contextmanager
def broken_migration(stack):
    """Add a revision that fails; then fix it, wait until it is applied, and remove it again."""
    head = stack.json("migrations")["head"]
    path = stack.root / "alembic" / "versions" / "9999_broken.py"
    path.write_text(BROKEN.format(head=head))
    try:
        yield
    finally:
        path.write_text(re.sub(r"op\.execute\(.*\)", "pass", BROKEN.format(head=head)))
        wait_until("the backend recovers without a restart", stack.is_healthy, 60)
        script = str(stack.state / "run" / "backend.sh")
        subprocess.run(["sh", script, "run", "alembic", "downgrade", "-1"], check=True)
        path.unlink()
        stack.ok("restart-backend")


def test_restart_is_degraded_when_a_migration_fails_and_recovers_by_itself(stack):
    with broken_migration(stack):
        result = stack.inv("restart-backend")
        assert result.returncode == 3
        for marker in (
            "Alembic attempt 1/3 (delay: 0.3s)...",
            "✗ Alembic exited with code 1.",
            "Retrying in 0.3s...",
            "Alembic attempt 3/3 (delay: 0.3s)...",
            "⚠️  Migrations did not complete after 3 attempts.",
            "WARNING: Service will start but may have incomplete schema.",
            "Starting Uvicorn application...",
        ):
            assert f"[entrypoint] {marker}" in result.stdout
        card = result.stdout[result.stdout.index("! backend is degraded after") :]
        assert re.search(r"migrations +\d+\.\d s +3 attempts +failed", card)
        assert "migrations: failed" in card
        assert "the backend retries the migrations" in card
        assert "no_such_table" in result.stdout
        assert stack.inv("health").returncode == 3
        health = stack.json("health")
        assert (health["state"], health["http_status"]) == ("degraded", 200)
        assert stack.json("migrations")["pending"] == ["9999_broken"]
        assert "1 behind 9999_broken" in stack.inv("status").stdout


def test_up_fails_at_once_when_the_backend_is_degraded(stack):
    with broken_migration(stack):
        stack.ok("down")
        result = stack.inv("up")
        assert result.returncode == 3
        assert "backend is degraded: its migrations failed" in result.stderr


def test_restart_waits_for_a_slow_database(stack):
    with frozen(stack, "postgres"):
        process, first_lines = stack.restart_until("Attempt 2/4... (waiting)")
    text = first_lines + process.stdout.read()
    assert process.wait(60) == 0, text
    assert re.search(r"database +[2-5]\.\d s +[2-4] attempts +answered", text)
    assert "✓ backend is healthy" in text


def test_restart_fails_without_a_database_and_recovers_by_itself(stack):
    with frozen(stack, "postgres"):
        result = stack.inv("restart-backend")
        assert result.returncode == 3
        assert "✗ backend failed after" in result.stdout
        assert "the database does not answer" in result.stdout
        assert re.search(r"database +\d+\.\d s +4 attempts +timed out", result.stdout)
        assert "inv logs postgres" in result.stdout
        health = stack.json("health")
        assert (health["state"], health["http_status"]) == ("unhealthy", 503)
        assert stack.inv("health").returncode == 3
        # Until the end of its start period it is `starting`.
        wait_until(
            "postgres is unhealthy", lambda: stack.service("postgres")["health"] == "unhealthy", 60
        )
        assert stack.inv("status").returncode == 3
    wait_until("the backend recovers without a restart", stack.is_healthy, 60)


def test_restart_times_out_during_a_long_boot(stack):
    with frozen(stack, "postgres"):
        result = stack.inv("restart-backend", "--timeout", "3")
        assert result.returncode == 3
        assert re.search(r"is still not ready after \d s", result.stdout)
        assert "backend: database" in result.stdout
        health = stack.json("health")
        assert health["state"] == "starting"
        assert health["health"]["phase"] in ("waiting", "migrating")  # after DB_WAIT_TIMEOUT


def test_restart_fails_at_once_when_the_port_is_taken(stack):
    port = int(stack.url().rpartition(":")[2])
    backend = psutil.Process(stack.pids("backend")[0])
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        backend.kill()

        def has_taken_the_port():
            with contextlib.suppress(OSError):
                other.bind(("127.0.0.1", port))
                return True
            return False

        with contextlib.suppress(AssertionError):
            wait_until("the port is taken", has_taken_the_port, 5)
        if other.getsockname()[1] != port:
            pytest.skip("the backend was faster")
        other.listen()
        result = stack.inv("restart-backend")
        assert result.returncode == 3
        assert "✗ backend failed" in result.stdout
        # On a busy machine it may have been started again before the first poll.
        assert re.search("exit status 2|it was restarted again", result.stdout)
        assert str(port) in result.stdout
    wait_until("the backend is healthy again", stack.is_healthy, 60)


def test_doctor_finds_failing_migrations_when_the_schema_is_current(stack):
    env = stack.root / ".env"

    def migration_findings():
        findings = stack.json("doctor")["findings"]
        return [finding for finding in findings if "keep failing" in finding["what"]]

    assert not migration_findings()
    env.write_text(SETTINGS + "ALEMBIC_CMD=alembic upgrade nosuch\n")
    try:
        stack.ok("up")
        wait_until("doctor finds it", migration_findings, 30)
        assert stack.inv("doctor").returncode == 3
        [finding] = migration_findings()
        assert "nosuch" in finding["evidence"][0]
    finally:
        env.write_text(SETTINGS)
        stack.ok("up")
    wait_until("doctor finds nothing", lambda: not migration_findings(), 30)


def test_up_and_doctor_show_the_error_of_a_database_that_keeps_exiting(stack):
    control = stack.state / "postgres" / "global" / "pg_control"
    renamed = control.with_name("renamed")
    stack.ok("down")
    control.rename(renamed)
    try:
        result = stack.inv("up")
        assert result.returncode == 3
        assert "postgres keeps restarting: exit status 2: " in result.stderr
        assert 'pg_control": No such file' in result.stderr
        [finding] = [f for f in stack.json("doctor")["findings"] if "postgres" in f["what"]]
        assert any("pg_control" in line for line in finding["evidence"])
    finally:
        renamed.rename(control)
        stack.ok("up")


def test_restart_ends_on_ctrl_c_and_restores_the_cursor(stack):
    with frozen(stack, "postgres"):
        code, output = run_in_terminal(
            stack, "restart-backend", until="Attempt 1/4", then=signal.SIGINT
        )
    assert code == 130
    assert "Traceback" not in output
    hide, show = output.rfind("\x1b[?25l"), output.rfind("\x1b[?25h")
    assert hide < show or hide == -1


def test_output_is_coloured_in_a_terminal_only(stack):
    code, output = run_in_terminal(stack, "health")
    assert code == 0
    assert "\x1b[38;5;28m" in output
    code, output = run_in_terminal(stack, "health", NO_COLOR="1")
    assert "\x1b[38;5;28m" not in output
    assert "backend is healthy" in output
    code, output = run_in_terminal(stack, "logs", "--tail", "200", "--grep", "entrypoint")
    assert "\x1b[38;5;30m[\x1b[1;4mentrypoint\x1b[22;24m]\x1b[39m" in output
    assert "\x1b" not in stack.ok("logs", "--tail", "200", "--grep", "entrypoint")


def run_in_terminal(stack, *arguments, until="", then=None, **env):
    """Run `inv` in a terminal of 80 columns; return its exit code and its output.

    The signal `then` is sent once the output contains `until`.
    """
    master, slave = pty.openpty()
    import fcntl
    import struct
    import termios

    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        stack.command(*arguments),
        cwd=stack.root,
        env=stack.environment | {"TERM": "xterm-256color"} | env,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    output = b""
    while True:
        try:
            data = os.read(master, 4096)
        except OSError:
            break
        if not data:
            break
        output += data
        if then and until.encode() in output:
            process.send_signal(then)
            then = None
    os.close(master)
    return process.wait(30), output.decode()


def test_status_reports_a_stack_that_is_shutting_down(stack):
    supervisor = Supervisor(stack.state / "run")
    (pid, *_) = stack.pids("beat")
    stack.signal(pid, signal.SIGSTOP)  # supervisord waits for its exit
    try:
        supervisor.call("supervisor.shutdown")
        result = stack.inv("status")
        assert result.returncode == 4
        assert result.stderr == "the stack is shutting down\n  start it with: inv up\n"
    finally:
        stack.signal(pid, signal.SIGCONT)
    wait_until("the stack is down", lambda: "not up" in stack.inv("status").stderr)
    stack.ok("up")


def test_status_watch_continues_while_the_stack_is_down(stack):
    with terminal(stack, "status", "--watch") as opened:
        opened.until("last boot")
        stack.ok("down")
        opened.until("unreachable since")
        opened.until("the stack is not up")
        stack.ok("up")
        opened.until("recovered at")
        opened.press("q")
        assert opened.end() == 0
