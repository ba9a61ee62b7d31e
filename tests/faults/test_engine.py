"""The engine restarts or cannot be used; containers are killed, ignore signals, or log a lot."""

import contextlib
import signal
import socket
import subprocess
import sys
import time

import pytest

from harness import engines, memory
from harness.servers import clean_environment, wait_until
from harness.stacks import copy_checkout
from invoke_stack.errors import OutOfReach
from invoke_stack.runtimes import record
from invoke_stack.runtimes.docker import engine

SERVICE = """
services:
  {name}:
    image: redis:7
    command: [sh, -c, {script!r}]
    restart: unless-stopped
    stop_grace_period: {grace}
"""


def service(name, script, grace="1s"):
    return SERVICE.format(name=name, script=script.replace("$", "$$"), grace=grace)


@contextlib.contextmanager
def following(stack, *arguments):
    """Run `inv logs --follow` in the background; yield a function that returns its lines so far.

    Its notices are in the file `notices`.
    """
    out, err = stack.root / "followed", stack.root / "notices"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = stack.start(
            "logs",
            *arguments,
            "--follow",
            stdout=stdout,
            stderr=stderr,
        )
    try:
        yield lambda: out.read_text("utf-8").splitlines()
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    assert "Traceback" not in err.read_text("utf-8")


@pytest.mark.engine
def test_f22_status_and_doctor_report_out_of_memory_after_restart(tmp_path, measured):
    script = "[ -e /data/once ] && exec sleep 1000; touch /data/once; exec tail /dev/zero"
    services = service("hungry", script) + '    mem_limit: 64m\n    volumes: ["/data"]\n'
    with engines.project(tmp_path / "memory", services) as stack:
        wait_until("it was killed and restarted", lambda: stack.service("hungry")["restarts"], 60)
        wait_until("it runs again", lambda: stack.service("hungry")["state"] == "running", 30)
        assert "hungry: it ran out of memory at " in stack.ok("status")
        doctor = stack.inv("doctor")
        assert doctor.returncode == 3
        assert "✗ hungry was killed: out of memory\n  it ran out of memory at " in doctor.stdout
    measured("`inv status` and `inv doctor` report it, with the time, after the restart")


@pytest.mark.engine
def test_f24_follow_reconnects_when_engine_restarts(tmp_path, measured):
    script = "i=0; while :; do i=$((i+1)); echo $$-$i; sleep 0.02; done"
    with (
        engines.engine() as restartable,
        images(restartable),
        engines.project(tmp_path / "follow", service("counter", script), restartable.host) as stack,
    ):
        with following(stack, "counter", "--tail", "0") as lines:
            wait_until("lines", lambda: len(lines()) > 20)
            restartable.stop()
            count = len(lines())
            restartable.start()
            recovery = wait_until("lines again", lambda: len(lines()) > count + 20, 60)
            end = len(lines())
            followed = lines()[:end]
        notices = (stack.root / "notices").read_text("utf-8")
        assert "waiting for it to come back" in notices
        assert "answers again" in notices
        complete = restartable.docker("logs", stack.containers("counter")[0]).stdout.splitlines()
        start = complete.index(followed[0])
        assert followed == complete[start : start + len(followed)]
    measured(
        f"a notice, {len(followed)} lines once and in order, reconnected after {recovery:.1f} s"
    )


@pytest.mark.engine
def test_f29_stopped_container_stays_stopped_after_engine_restart(tmp_path):
    with (
        engines.engine() as restartable,
        images(restartable),
        engines.project(
            tmp_path / "stopped", service("quiet", "exec sleep 1000"), restartable.host
        ) as stack,
    ):
        stack.compose("stop", "quiet")
        restartable.stop()
        restartable.start()
        assert stack.service("quiet")["state"] == "exited"


@contextlib.contextmanager
def images(target):
    """Copy the image of the shared engine to an engine that has no registry to pull from."""
    engines.load(target, "redis:7")
    yield


@pytest.mark.engine
def test_f25_tail_of_a_gigabyte_is_fast_and_small(tmp_path, measured):
    line = "x" * 1000
    script = f"yes {line} | head -c 1000000000; echo; echo the end; exec sleep 1000"
    with engines.project(tmp_path / "large", service("large", script)) as stack:
        identity = stack.containers("large")[0]

        def is_written():
            return engines.dockerized.docker("logs", "--tail", "1", identity).stdout == "the end\n"

        wait_until("it is written", is_written, 120)
        for _ in range(10):  # the machine may be busy
            started_at = time.monotonic()
            result = subprocess.run(
                memory.measured_command(
                    tmp_path / "peak", stack.command("logs", "large", "--tail", "100")
                ),
                cwd=stack.root,
                env=stack.environment,
                capture_output=True,
            )
            seconds = time.monotonic() - started_at
            if seconds <= 2:
                break
    lines = result.stdout.splitlines()
    peak = int((tmp_path / "peak").read_text("ascii"))
    assert result.returncode == 0, result.stderr
    assert len(lines) == 100
    assert lines[-1] == b"the end"
    assert seconds <= 2
    assert peak <= 150 * 1024  # KiB
    measured(f"{seconds:.1f} s, {peak // 1024} MiB")


@pytest.mark.engine
def test_f27_restart_ends_when_container_ignores_sigterm(tmp_path, measured):
    # The grace period is longer than the default timeout of the SDK.
    script = "trap '' TERM; while :; do sleep 1; done"
    with engines.project(tmp_path / "deaf", service("deaf", script, "35s")) as stack:
        result = stack.inv("restart", "deaf")
        assert result.returncode == 0, result.stderr
        assert "deaf is healthy" in result.stdout
    measured("a verdict after a grace period of 35 s")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """Return a checkout that was never started."""
    return copy_checkout(tmp_path_factory.mktemp("fresh"))


def refusal(root, *arguments, **env):
    """Run `inv status`, which must refuse; return its stderr and how many seconds it took."""
    started_at = time.monotonic()
    result = subprocess.run(
        [sys.executable, "-m", "invoke", "status", *arguments],
        cwd=root,
        env=clean_environment() | env,
        capture_output=True,
        text=True,
    )
    seconds = time.monotonic() - started_at
    assert result.returncode == 4, result
    assert "Traceback" not in result.stderr
    [_, hint] = result.stderr.splitlines()
    assert hint.startswith("  ")
    return result.stderr, seconds


def seconds_of_startup(root):
    """Return how long `inv` takes to do nothing."""
    started_at = time.monotonic()
    command = [sys.executable, "-m", "invoke", "--list"]
    subprocess.run(command, cwd=root, env=clean_environment(), capture_output=True, check=True)
    return time.monotonic() - started_at


def quick_refusal(root, *arguments, **env):
    """Return the stderr of a refusal within 2 s, or within 3 times the startup of `inv`."""
    for _ in range(10):
        stderr, seconds = refusal(root, *arguments, **env)
        if seconds <= 2 or seconds <= 3 * seconds_of_startup(root):
            return stderr
    raise AssertionError(f"it takes {seconds:.1f} s")


FLAG_AND_AUTO = pytest.mark.parametrize(
    "arguments", [("--runtime", "compose"), ()], ids=["flag", "auto"]
)


@FLAG_AND_AUTO
def test_f28_missing_socket_is_refused(fresh, arguments):
    stderr = quick_refusal(fresh, *arguments, DOCKER_HOST="unix:///nowhere/docker.sock")
    assert "its socket does not exist" in stderr


@FLAG_AND_AUTO
def test_f28_socket_without_engine_is_refused(fresh, arguments, tmp_path):
    with socket.socket(socket.AF_UNIX) as sock:
        path = tmp_path / "docker.sock"
        sock.bind(str(path))
        stderr, _ = refusal(fresh, *arguments, DOCKER_HOST=f"unix://{path}")
    assert "refused" in stderr


def test_f28_missing_permission_is_reported_with_a_fix():
    def fail():
        with engine.errors():
            raise PermissionError(13, "Permission denied")

    with pytest.raises(OutOfReach) as error:
        fail()
    assert "usermod -aG docker" in error.value.hint


@FLAG_AND_AUTO
def test_f28_unknown_context_is_refused(fresh, arguments, tmp_path):
    misspelt = {"DOCKER_CONTEXT": "misspelt", "DOCKER_HOST": "", "DOCKER_CONFIG": str(tmp_path)}
    stderr, _ = refusal(fresh, *arguments, **misspelt)
    assert "there is no Docker context 'misspelt'" in stderr
    assert "default" in stderr


def test_f28_unreachable_engine_of_last_use_is_refused(fresh, tmp_path):
    (tmp_path / "config.json").write_text('{"currentContext": "misspelt"}')
    (fresh / ".local").mkdir()
    record.write(fresh / ".local", "compose")
    env = {"DOCKER_CONTEXT": "", "DOCKER_HOST": "", "DOCKER_CONFIG": str(tmp_path)}
    stderr = quick_refusal(fresh, **env)
    assert "used compose last, and there is no Docker context 'misspelt'" in stderr
    assert "--runtime local" in stderr
    record.remove(fresh / ".local", "compose")
