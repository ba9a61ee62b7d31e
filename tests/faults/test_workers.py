"""F33: several Uvicorn workers, which are child processes of the former entrypoint."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from harness import servers
from harness.stacks import Stack
from tests.faults.test_boot import with_everything
from tests.integration.boot.boots import Boot

pytestmark = pytest.mark.slow

CONFIGURATIONS = {
    "WEB_CONCURRENCY": {"WEB_CONCURRENCY": "2"},
    "--workers": {"UVICORN_CMD": "uvicorn app.main:app --fd 3 --workers 2"},
    "--port": {"UVICORN_CMD": "uvicorn app.main:app --host 127.0.0.1 --port $PORT --workers 2"},
}

SERVING = (200, "serving")
COUNTER = "deal_scout_http_request_seconds_count"
UNWATCHED = {"HEALTH_RESTART_AFTER": "0", "LIVE_RESTART_AFTER": "0"}

START_TIMEOUT = 90.0  # seconds in which two workers start, even on a busy machine

Response = tuple[int, str | None] | str


def ask(boot: Boot, path: str = "/ready") -> Response:
    """Return status and phase of a response on a new connection, or the error."""
    try:
        status, _, text = boot.ask(path)
        return status, json.loads(text).get("phase")
    except (OSError, http.client.HTTPException, ValueError) as error:
        return repr(error)


@contextlib.contextmanager
def polling(boot: Boot) -> Iterator[list[tuple[float, float, Response]]]:
    """Request /ready continuously; yield the begin, end and response of each request."""
    responses: list[tuple[float, float, Response]] = []
    done = threading.Event()

    def poll() -> None:
        while not done.wait(0.02):
            started_at = time.monotonic()
            response = ask(boot)
            responses.append((started_at, time.monotonic(), response))

    clients = [threading.Thread(target=poll) for _ in range(2)]
    for client in clients:
        client.start()
    try:
        yield responses
    finally:
        done.set()
        for client in clients:
            client.join()


def wait_for_workers(boot: Boot, starts: int = 2) -> None:
    """Wait until this number of workers of a boot have started to serve."""
    servers.wait_until(
        f"{starts} workers serve",
        lambda: boot.err.count("Application startup complete") >= starts,
        START_TIMEOUT,
    )


def requests_counted(boot: Boot, path: str) -> int:
    """Return how many requests for `path` /metrics counts."""
    text = boot.ask("/metrics")[2]
    counts = re.findall(rf'^{COUNTER}{{method="GET",path="{path}",.*}} (\S+)$', text, re.M)
    return int(sum(map(float, counts)))


def responders(boot: Boot) -> list[str]:
    return [command for command in boot.commands() if "app.boot.startup" in command]


@pytest.mark.parametrize("variables", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_f33_every_request_reaches_the_application(
    boot: Boot, variables: dict[str, str], measured: Callable[[str], None]
) -> None:
    with polling(with_everything(boot).start(**variables)) as responses:
        wait_for_workers(boot)
        with ThreadPoolExecutor(4) as clients:
            counts = Counter(clients.map(lambda _: ask(boot), range(1000)))
    serving_at = min(end for _, end, response in responses if response == SERVING)
    assert counts == {SERVING: 1000}
    assert {response for begin, _, response in responses if begin > serving_at} == {SERVING}
    assert not responders(boot)
    code, seconds = boot.end()
    assert code in (0, 143, -signal.SIGTERM)
    assert seconds <= 10
    servers.wait_until("no orphan", lambda: not boot.family(), 2)
    measured(f"1000 of 1000 requests; ended after {seconds:.1f} s")


def test_f33_handover_loses_no_request(boot: Boot, shell: str) -> None:
    """In each shell: the socket never refuses or resets a connection."""
    (boot.bin / "uvicorn").unlink()
    boot.use_shell(shell).start(
        UVICORN_CMD="uvicorn application:app --fd 3 --workers 2", **UNWATCHED
    )
    with polling(boot.wait_until_listening()) as responses:
        wait_for_workers(boot)
        count = len(responses)
        servers.wait_until("more responses", lambda: len(responses) > count + 100)
    serving_at = min(end for _, end, response in responses if response == SERVING)
    before = {response for _, end, response in responses if end < serving_at}
    assert before <= {(503, "waiting"), (503, "migrating")}
    assert {response for begin, _, response in responses if begin > serving_at} == {SERVING}
    assert not responders(boot)


def test_f33_workers_serve_without_a_writable_folder(boot: Boot) -> None:
    with_everything(boot).start(WEB_CONCURRENCY="2", RUN_DIR="/nowhere")
    wait_for_workers(boot)
    with ThreadPoolExecutor(4) as clients:
        assert set(clients.map(lambda _: ask(boot), range(200))) == {SERVING}
    assert not responders(boot)
    assert boot.ask("/metrics")[0] == 200


def test_f33_metrics_count_all_workers_since_the_start(boot: Boot) -> None:
    with_everything(boot).start(WEB_CONCURRENCY="2", **UNWATCHED)
    wait_for_workers(boot)
    with ThreadPoolExecutor(4) as clients:
        list(clients.map(lambda _: boot.ask("/deals"), range(200)))
    assert {requests_counted(boot, "/deals") for _ in range(20)} == {200}  # from any worker
    text = boot.ask("/metrics")[2]
    assert re.findall("^deal_scout_up{.*db.*", text, re.M) == ['deal_scout_up{dependency="db"} 1.0']

    worker = next(p for p in boot.family() if "spawn_main" in " ".join(p.cmdline()))
    worker.kill()
    wait_for_workers(boot, starts=3)
    assert ask(boot) == SERVING
    assert requests_counted(boot, "/deals") == 200

    boot.end(signal.SIGKILL)
    # Orphaned workers would keep PORT in use.
    servers.wait_until("no orphan", lambda: not boot.family(), 2)
    boot.start(WEB_CONCURRENCY="2")
    wait_for_workers(boot)
    assert requests_counted(boot, "/deals") == 0


def test_f33_sigterm_ends_boot_while_workers_start(boot: Boot) -> None:
    with_everything(boot).start(WEB_CONCURRENCY="2")
    servers.wait_until("they start", lambda: "Started parent process" in boot.err, START_TIMEOUT)
    code, seconds = boot.end()
    assert code in (0, 143, -signal.SIGTERM)
    assert seconds <= 10
    servers.wait_until("no orphan", lambda: not boot.family(), 2)


@pytest.mark.parametrize("workers", ["", " --workers 2"], ids=["one", "two"])
def test_f33_command_that_binds_the_port_can_be_restarted(boot: Boot, workers: str) -> None:
    (boot.bin / "uvicorn").unlink()
    command = f"uvicorn application:app --host 127.0.0.1 --port $PORT{workers}"
    for _ in range(5):
        boot.start(UVICORN_CMD=command, **UNWATCHED)
        servers.wait_until("it serves", lambda: ask(boot) == SERVING, START_TIMEOUT)
        client = socket.create_connection(("127.0.0.1", boot.port))
        client.sendall(b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n")  # the client keeps it open
        assert client.recv(1)
        boot.end()
        assert "in use" not in boot.err
    assert boot.process.returncode in (0, -signal.SIGTERM)


def test_f33_uvicorn_cmd_expands_port_only(boot: Boot) -> None:
    boot.start(
        UVICORN_CMD="uvicorn $PORT:${PORT} $PORTAL $PORT_A ${PORTAL} $HOME $$PORT"
    ).wait_until_serving()
    port = boot.port
    expected = f"uvicorn {port}:{port} $PORTAL $PORT_A ${{PORTAL}} $HOME ${port}"
    servers.wait_until("it runs", lambda: f"\n{expected}\n" in boot.out)


@pytest.mark.parametrize("lock", ["responder.lock", ""], ids=["lock", "no lock"])
def test_f33_process_that_reuses_the_id_of_the_responder_is_not_killed(
    boot: Boot, lock: str, tmp_path: Path
) -> None:
    (tmp_path / "responder.lock").touch()
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as other:
        variables = {
            "RESPONDER_PID": str(other.pid),
            "RESPONDER_LOCK": lock and str(tmp_path / lock),
        }
        code = "from app.boot.startup import stop_responder; stop_responder()"
        subprocess.run([sys.executable, "-c", code], env=boot.environ | variables, check=True)
        assert other.poll() is None
        other.kill()


# Imports the metrics, fills the disk, and counts requests for many routes.
FULL_DISK_SCRIPT = """
import pathlib, subprocess, sys
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", sys.argv[1]], check=True)
from app.health import metrics
try:
    pathlib.Path(sys.argv[1], "filler").write_bytes(bytes(4_000_000))
except OSError:
    for route in range(50):
        metrics._REQUESTS.labels("GET", f"/{route}", "503").observe(1)
    print("counted")
"""


def test_f33_full_disk_does_not_kill_a_worker(boot: Boot) -> None:
    unshare = ("unshare", "--user", "--map-root-user", "--mount")
    if not shutil.which("unshare") or subprocess.run([*unshare, "true"]).returncode:
        pytest.skip("user namespaces are not available")
    result = subprocess.run(
        [*unshare, sys.executable, "-c", FULL_DISK_SCRIPT, str(boot.folder)],
        env=boot.environ | {"ENTRYPOINT_PID": "1"},
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stdout) == (0, "counted\n"), result.stderr


@pytest.mark.parametrize("stack", ["local"], indirect=True)
def test_f33_workers_restart_on_the_local_runtime(
    stack: Stack, measured: Callable[[str], None]
) -> None:
    try:
        with stack.setting("WEB_CONCURRENCY=2"):
            stack.ok("up")
            restart = stack.json("restart-backend", "--no-logs")
            assert restart["verdict"] == "healthy"
            started_at, processes = stack.service("backend")["started_at"], stack.pids("backend")
            stack.kill("backend")
            servers.wait_until(
                "a new start", lambda: stack.service("backend")["started_at"] != started_at
            )
            servers.wait_until("it is healthy", stack.is_healthy, START_TIMEOUT)
            assert stack.service("backend")["restarts"] == 1
            assert not any(psutil.pid_exists(pid) for pid in processes)
            measured(f"restart-backend with two workers {restart['total_seconds']:.1f} s")
    finally:
        stack.ok("up")
