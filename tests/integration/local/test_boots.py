"""Boots that go wrong, on the whole stack: what the verdict says, and how it heals by itself."""

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
BROKEN = '''"""A migration that cannot work."""

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
def _healthy_again(stack):
    yield
    wait_until("the stack is healthy again", stack.is_healthy, 60)


@contextlib.contextmanager
def frozen(stack, service):
    """Every process of a service stopped, as on a machine that hangs: it accepts, and never answers."""
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
    """A revision that fails; afterwards it is mended, applied by itself, and taken away again."""
    head = stack.json("migrations")["head"]
    path = stack.root / "alembic" / "versions" / "9999_broken.py"
    path.write_text(BROKEN.format(head=head))
    try:
        yield
    finally:
        path.write_text(re.sub(r"op\.execute\(.*\)", "pass", BROKEN.format(head=head)))
        wait_until("it heals without a restart", stack.is_healthy, 60)
        script = str(stack.state / "run" / "backend.sh")
        subprocess.run(["sh", script, "run", "alembic", "downgrade", "-1"], check=True)
        path.unlink()
        stack.ok("restart-backend")


def test_a_migration_that_fails_for_good_is_degraded_and_heals_by_itself(stack):
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
        card = result.stdout[result.stdout.index("! backend serves, but degraded") :]
        assert re.search(r"migrations +\d+\.\d s +3 attempts +failed", card)
        assert "migrations: failed" in card
        assert "inv migrations" in card
        assert "no_such_table" in result.stdout  # the cause
        assert stack.inv("health").returncode == 3
        seen = stack.json("health")
        assert (seen["state"], seen["http_status"]) == ("degraded", 200)
        assert stack.json("migrations")["pending"] == ["9999_broken"]
        assert "1 behind 9999_broken" in stack.inv("status").stdout


def test_up_tells_of_a_degraded_backend_at_once(stack):
    with broken_migration(stack):
        stack.ok("down")
        result = stack.inv("up")
        assert result.returncode == 3
        assert "backend is degraded: its migrations failed" in result.stderr


def test_a_slow_database_is_waited_for(stack):
    with frozen(stack, "postgres"):
        process, shown = stack.read_restart("Attempt 2/4... (waiting)")
    text = shown + process.stdout.read()
    assert process.wait(60) == 0, text
    assert re.search(r"database +[2-5]\.\d s +[2-4] attempts +answered", text)
    assert "✓ backend is healthy" in text


def test_a_database_that_stays_away_ends_in_a_degraded_start_that_heals(stack):
    with frozen(stack, "postgres"):
        result = stack.inv("restart-backend")
        assert result.returncode == 3
        assert "✗ backend failed after" in result.stdout
        assert "the database does not answer" in result.stdout
        assert re.search(r"database +\d+\.\d s +4 attempts +timed out", result.stdout)
        assert "inv logs postgres" in result.stdout
        seen = stack.json("health")
        assert (seen["state"], seen["http_status"]) == ("unhealthy", 503)
        assert stack.inv("health").returncode == 3
        # Within its start period it counts as starting.
        wait_until("it shows", lambda: stack.service("postgres")["health"] == "unhealthy", 60)
        assert stack.inv("status").returncode == 3
    wait_until("it heals without a restart", stack.is_healthy, 60)


def test_a_boot_that_takes_longer_than_the_time_limit(stack):
    with frozen(stack, "postgres"):
        result = stack.inv("restart-backend", "--timeout", "3")
        assert result.returncode == 3
        assert re.search(r"is still not ready after \d s", result.stdout)
        assert "backend: database" in result.stdout
        seen = stack.json("health")
        assert seen["state"] == "starting"
        assert seen["health"]["phase"] in ("waiting", "migrating")  # after DB_WAIT_TIMEOUT


def test_a_port_that_is_taken_fails_at_once_with_the_reason(stack):
    port = int(stack.url().rpartition(":")[2])
    old = psutil.Process(stack.pids("backend")[0])
    with socket.socket() as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        old.kill()

        def taken():
            with contextlib.suppress(OSError):
                thief.bind(("127.0.0.1", port))
                return True
            return False

        with contextlib.suppress(AssertionError):
            wait_until("the port is ours", taken, 5)
        if thief.getsockname()[1] != port:
            pytest.skip("the backend was faster")
        thief.listen()
        result = stack.inv("restart-backend")
        assert result.returncode == 3
        assert "✗ backend failed" in result.stdout
        # On a busy machine it may have been started once more before anybody looked.
        assert re.search("exit status 2|it was restarted again", result.stdout)
        assert str(port) in result.stdout
    wait_until("it comes back", stack.is_healthy, 60)


def test_migrations_that_go_on_failing_though_the_schema_is_current_are_found(stack):
    env = stack.root / ".env"

    def failing():
        findings = stack.json("doctor")["findings"]
        return [each for each in findings if "keep failing" in each["what"]]

    assert not failing()
    env.write_text(SETTINGS + "ALEMBIC_CMD=alembic upgrade nosuch\n")
    try:
        stack.ok("up")
        wait_until("it is found", failing, 30)
        assert stack.inv("doctor").returncode == 3
        [finding] = failing()
        assert "nosuch" in finding["evidence"][0]
    finally:
        env.write_text(SETTINGS)
        stack.ok("up")
    wait_until("it is over", lambda: not failing(), 30)


def test_why_a_database_does_not_stay_up_is_told_in_its_own_words(stack):
    control = stack.state / "postgres" / "global" / "pg_control"
    away = control.with_name("away")
    stack.ok("down")
    control.rename(away)
    try:
        result = stack.inv("up")
        assert result.returncode == 3
        assert "postgres does not stay up: exit status 2: " in result.stderr
        assert 'pg_control": No such file' in result.stderr
        [finding] = [f for f in stack.json("doctor")["findings"] if "postgres" in f["what"]]
        assert any("pg_control" in each for each in finding["evidence"])
    finally:
        away.rename(control)
        stack.ok("up")


def test_ctrl_c_ends_a_restart_and_leaves_the_terminal_as_it_was(stack):
    with frozen(stack, "postgres"):
        code, shown = in_a_terminal(
            stack, "restart-backend", until="Attempt 1/4", then=signal.SIGINT
        )
    assert code == 130
    assert "Traceback" not in shown
    hidden, visible = shown.rfind("\x1b[?25l"), shown.rfind("\x1b[?25h")
    assert hidden < visible or hidden == -1


def test_a_terminal_gets_colour_and_a_pipe_does_not(stack):
    code, shown = in_a_terminal(stack, "health")
    assert code == 0
    assert "\x1b[38;5;28m" in shown
    code, shown = in_a_terminal(stack, "health", NO_COLOR="1")
    assert "\x1b[38;5;28m" not in shown
    assert "backend is healthy" in shown
    code, shown = in_a_terminal(stack, "logs", "--tail", "200", "--grep", "entrypoint")
    assert "\x1b[38;5;30m[\x1b[1;4mentrypoint\x1b[22;24m]\x1b[39m" in shown
    assert "\x1b" not in stack.ok("logs", "--tail", "200", "--grep", "entrypoint")


def in_a_terminal(stack, *words, until="", then=None, **env):
    """Run `inv` in a terminal of 80 columns; its exit code and everything it wrote."""
    master, slave = pty.openpty()
    import fcntl
    import struct
    import termios

    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        stack.command(*words),
        cwd=stack.root,
        env=stack.environment | {"TERM": "xterm-256color"} | env,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    shown = b""
    while True:
        try:
            data = os.read(master, 4096)
        except OSError:
            break
        if not data:
            break
        shown += data
        if then and until.encode() in shown:
            process.send_signal(then)
            then = None
    os.close(master)
    return process.wait(30), shown.decode()


def test_a_stack_that_is_being_taken_down_is_out_of_reach(stack):
    supervisor = Supervisor(stack.state / "run")
    (pid, *_) = stack.pids("beat")
    stack.signal(pid, signal.SIGSTOP)  # so that supervisord waits for its end
    try:
        supervisor.call("supervisor.shutdown")
        result = stack.inv("status")
        assert result.returncode == 4
        assert result.stderr == "the stack is being taken down\n  start it with: inv up\n"
    finally:
        stack.signal(pid, signal.SIGCONT)
    wait_until("it is down", lambda: "not up" in stack.inv("status").stderr)
    stack.ok("up")


def test_status_goes_on_while_the_stack_is_away(stack):
    with terminal(stack, "status", "--watch") as opened:
        opened.until("last boot")
        stack.ok("down")
        opened.until("out of reach since")
        opened.until("the stack is not up")
        stack.ok("up")
        opened.until("back since")
        opened.press("q")
        assert opened.end() == 0
