"""The engine restarts, logs grow huge, containers are killed, deaf or stopped by hand."""

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
def following(stack, *words):
    """`inv logs --follow` in the background: its lines so far, and its notices in the end."""
    out, err = stack.root / "followed", stack.root / "notices"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = stack.begin(
            "logs",
            *words,
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
def test_f22_out_of_memory_is_told_after_the_restart(tmp_path, measured):
    script = "[ -e /data/once ] && exec sleep 1000; touch /data/once; exec tail /dev/zero"
    services = service("hungry", script) + '    mem_limit: 64m\n    volumes: ["/data"]\n'
    with engines.project(tmp_path / "memory", services) as stack:
        wait_until("it was killed and restarted", lambda: stack.service("hungry")["restarts"], 60)
        wait_until("it runs again", lambda: stack.service("hungry")["state"] == "running", 30)
        assert "hungry: it ran out of memory at " in stack.ok("status")
        examined = stack.inv("doctor")
        assert examined.returncode == 3
        assert "✗ hungry was killed: out of memory\n  it ran out of memory at " in examined.stdout
    measured("`inv status` and `inv doctor` name it, and when, after the restart")


@pytest.mark.engine
def test_f24_the_engine_restarts_under_a_follower(tmp_path, measured):
    script = "i=0; while :; do i=$((i+1)); echo $$-$i; sleep 0.02; done"
    with (
        engines.engine() as own,
        images(own),
        engines.project(tmp_path / "follow", service("counter", script), own.host) as stack,
    ):
        with following(stack, "counter", "--tail", "0") as lines:
            wait_until("lines", lambda: len(lines()) > 20)
            own.stop()
            seen = len(lines())
            own.start()
            back = wait_until("lines again", lambda: len(lines()) > seen + 20, 60)
            end = len(lines())
            shown = lines()[:end]
        notices = (stack.root / "notices").read_text("utf-8")
        assert "waiting for it to come back" in notices
        assert "answers again" in notices
        complete = own.docker("logs", stack.containers("counter")[0]).stdout.splitlines()
        start = complete.index(shown[0])
        assert shown == complete[start : start + len(shown)]
    measured(f"a notice, {len(shown)} lines once and in order, on again after {back:.1f} s")


@pytest.mark.engine
def test_f29_stopped_by_hand_stays_stopped(tmp_path):
    with (
        engines.engine() as own,
        images(own),
        engines.project(
            tmp_path / "stopped", service("quiet", "exec sleep 1000"), own.host
        ) as stack,
    ):
        stack.compose("stop", "quiet")
        own.stop()
        own.start()
        assert stack.service("quiet")["state"] == "exited"


@contextlib.contextmanager
def images(own):
    """The shared engine's image, for an engine that has no registry to pull from."""
    engines.load(own, "redis:7")
    yield


@pytest.mark.engine
def test_f25_the_end_of_a_gigabyte(tmp_path, measured):
    line = "x" * 1000
    script = f"yes {line} | head -c 1000000000; echo; echo the end; exec sleep 1000"
    with engines.project(tmp_path / "large", service("large", script)) as stack:
        identity = stack.containers("large")[0]

        def is_written():
            return engines.dockerized.docker("logs", "--tail", "1", identity).stdout == "the end\n"

        wait_until("it is written", is_written, 120)
        for _ in range(10):  # chances on a machine that is busy with something else
            begin = time.monotonic()
            result = subprocess.run(
                memory.recorded(tmp_path / "peak", stack.command("logs", "large", "--tail", "100")),
                cwd=stack.root,
                env=stack.environment,
                capture_output=True,
            )
            seconds = time.monotonic() - begin
            if seconds <= 2:
                break
    shown = result.stdout.splitlines()
    peak = int((tmp_path / "peak").read_text("ascii"))
    assert result.returncode == 0, result.stderr
    assert len(shown) == 100
    assert shown[-1] == b"the end"
    assert seconds <= 2
    assert peak <= 150 * 1024  # KiB
    measured(f"{seconds:.1f} s, {peak // 1024} MiB")


@pytest.mark.engine
def test_f27_a_container_that_ignores_sigterm(tmp_path, measured):
    """Its grace period is longer than the SDK's own patience."""
    script = "trap '' TERM; while :; do sleep 1; done"
    with engines.project(tmp_path / "deaf", service("deaf", script, "35s")) as stack:
        result = stack.inv("restart", "deaf")
        assert result.returncode == 0, result.stderr
        assert "deaf is healthy" in result.stdout
    measured("a verdict after a grace period of 35 s")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """A checkout in which nothing was ever up."""
    return copy_checkout(tmp_path_factory.mktemp("fresh"))


def refusal(root, *words, **env):
    """What `inv status` says where it must refuse, and how many seconds that takes."""
    begin = time.monotonic()
    result = subprocess.run(
        [sys.executable, "-m", "invoke", "status", *words],
        cwd=root,
        env=clean_environment() | env,
        capture_output=True,
        text=True,
    )
    seconds = time.monotonic() - begin
    assert result.returncode == 4, result
    assert "Traceback" not in result.stderr
    [_, remedy] = result.stderr.splitlines()
    assert remedy.startswith("  ")
    return result.stderr, seconds


def seconds_for_nothing(root):
    begin = time.monotonic()
    words = [sys.executable, "-m", "invoke", "--list"]
    subprocess.run(words, cwd=root, env=clean_environment(), capture_output=True, check=True)
    return time.monotonic() - begin


def quick_refusal(*given, **env):
    """The same within 2 s, or what three commands that do nothing take on a busy machine."""
    for _ in range(10):
        said, seconds = refusal(*given, **env)
        if seconds <= 2 or seconds <= 3 * seconds_for_nothing(given[0]):
            return said
    raise AssertionError(f"it takes {seconds:.1f} s")


ANY_CHOICE = pytest.mark.parametrize("words", [("--runtime", "compose"), ()], ids=["flag", "auto"])


@ANY_CHOICE
def test_f28_a_socket_that_is_missing(fresh, words):
    said = quick_refusal(fresh, *words, DOCKER_HOST="unix:///nowhere/docker.sock")
    assert "its socket does not exist" in said


@ANY_CHOICE
def test_f28_a_socket_that_may_not_be_opened(fresh, words, tmp_path):
    with socket.socket(socket.AF_UNIX) as sock:
        path = tmp_path / "docker.sock"
        sock.bind(str(path))
        said, _ = refusal(fresh, *words, DOCKER_HOST=f"unix://{path}")
    assert "refused" in said


def test_f28_a_permission_that_is_missing_is_told_with_its_remedy():
    def denied():
        with engine.errors():
            raise PermissionError(13, "Permission denied")

    with pytest.raises(OutOfReach) as caught:
        denied()
    assert "usermod -aG docker" in caught.value.hint


@ANY_CHOICE
def test_f28_a_context_that_does_not_exist(fresh, words, tmp_path):
    misspelt = {"DOCKER_CONTEXT": "misspelt", "DOCKER_HOST": "", "DOCKER_CONFIG": str(tmp_path)}
    said, _ = refusal(fresh, *words, **misspelt)
    assert "there is no Docker context 'misspelt'" in said
    assert "default" in said


def test_f28_the_engine_of_a_record(fresh, tmp_path):
    (tmp_path / "config.json").write_text('{"currentContext": "misspelt"}')
    (fresh / ".local").mkdir()
    record.write(fresh / ".local", "compose")
    env = {"DOCKER_CONTEXT": "", "DOCKER_HOST": "", "DOCKER_CONFIG": str(tmp_path)}
    said = quick_refusal(fresh, **env)
    assert "used compose last, and there is no Docker context 'misspelt'" in said
    assert "--runtime local" in said
    record.remove(fresh / ".local", "compose")
