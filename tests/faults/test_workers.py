"""F33: several Uvicorn workers, which run in children of the process that was the entrypoint."""

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

START = 90.0  # seconds that two workers may take to start on a machine that others use too

Answer = tuple[int, str | None] | str


def ask(boot: Boot, path: str = "/ready") -> Answer:
    """Return status and phase of one answer, on a connection of its own, or the error."""
    try:
        status, _, text = boot.ask(path)
        return status, json.loads(text).get("phase")
    except (OSError, http.client.HTTPException, ValueError) as error:
        return repr(error)


@contextlib.contextmanager
def polling(boot: Boot) -> Iterator[list[tuple[float, float, Answer]]]:
    """Ask /ready all the time, with two clients; yield begin, end and answer of each request."""
    answers: list[tuple[float, float, Answer]] = []
    done = threading.Event()

    def poll() -> None:
        while not done.wait(0.02):
            began = time.monotonic()
            answer = ask(boot)
            answers.append((began, time.monotonic(), answer))

    clients = [threading.Thread(target=poll) for _ in range(2)]
    for client in clients:
        client.start()
    try:
        yield answers
    finally:
        done.set()
        for client in clients:
            client.join()


def wait_for_workers(boot: Boot, starts: int = 2) -> None:
    """Wait until so many workers of a boot have begun to serve."""
    servers.wait_until(
        f"{starts} workers serve",
        lambda: boot.err.count("Application startup complete") >= starts,
        START,
    )


def requests_counted(boot: Boot, path: str) -> int:
    """Return how many requests for `path` /metrics has counted."""
    text = boot.ask("/metrics")[2]
    counts = re.findall(rf'^{COUNTER}{{method="GET",path="{path}",.*}} (\S+)$', text, re.M)
    return int(sum(map(float, counts)))


def responders(boot: Boot) -> list[str]:
    return [command for command in boot.commands() if "app.boot.startup" in command]


@pytest.mark.parametrize("variables", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_f33_every_request_reaches_the_application(
    boot: Boot, variables: dict[str, str], measured: Callable[[str], None]
) -> None:
    with polling(with_everything(boot).start(**variables)) as answers:
        wait_for_workers(boot)
        with ThreadPoolExecutor(4) as clients:
            thousand = Counter(clients.map(lambda _: ask(boot), range(1000)))
    served = min(end for _, end, answer in answers if answer == SERVING)
    assert thousand == {SERVING: 1000}
    assert {answer for began, _, answer in answers if began > served} == {SERVING}
    assert not responders(boot)
    code, seconds = boot.end()
    assert code in (0, 143, -signal.SIGTERM)
    assert seconds <= 10
    servers.wait_until("no orphan", lambda: not boot.family(), 2)
    measured(f"1000 of 1000 requests; ended after {seconds:.1f} s")


def test_f33_no_request_is_lost_in_the_handover(boot: Boot, shell: str) -> None:
    """With a small application, in each shell: the socket never refuses, and never resets."""
    (boot.bin / "uvicorn").unlink()
    boot.use_shell(shell).start(
        UVICORN_CMD="uvicorn application:app --fd 3 --workers 2", **UNWATCHED
    )
    with polling(boot.wait_until_listening()) as answers:
        wait_for_workers(boot)
        count = len(answers)
        servers.wait_until("more answers", lambda: len(answers) > count + 100)
    served = min(end for _, end, answer in answers if answer == SERVING)
    before = {answer for _, end, answer in answers if end < served}
    assert before <= {(503, "waiting"), (503, "migrating")}
    assert {answer for began, _, answer in answers if began > served} == {SERVING}
    assert not responders(boot)


def test_f33_without_a_folder_to_write_to(boot: Boot) -> None:
    with_everything(boot).start(WEB_CONCURRENCY="2", RUN_DIR="/nowhere")
    wait_for_workers(boot)
    with ThreadPoolExecutor(4) as clients:
        assert set(clients.map(lambda _: ask(boot), range(200))) == {SERVING}
    assert not responders(boot)
    assert boot.ask("/metrics")[0] == 200


def test_f33_metrics_count_all_workers_of_this_start(boot: Boot) -> None:
    with_everything(boot).start(WEB_CONCURRENCY="2", **UNWATCHED)
    wait_for_workers(boot)
    with ThreadPoolExecutor(4) as clients:
        list(clients.map(lambda _: boot.ask("/deals"), range(200)))
    assert {requests_counted(boot, "/deals") for _ in range(20)} == {200}  # whoever answers
    text = boot.ask("/metrics")[2]
    assert re.findall("^deal_scout_up{.*db.*", text, re.M) == ['deal_scout_up{dependency="db"} 1.0']

    worker = next(p for p in boot.family() if "spawn_main" in " ".join(p.cmdline()))
    worker.kill()
    wait_for_workers(boot, starts=3)
    assert ask(boot) == SERVING
    assert requests_counted(boot, "/deals") == 200

    boot.end(signal.SIGKILL)
    # Workers that are left would serve for ever, and the next start find PORT in use.
    servers.wait_until("no orphan", lambda: not boot.family(), 2)
    boot.start(WEB_CONCURRENCY="2")
    wait_for_workers(boot)
    assert requests_counted(boot, "/deals") == 0


def test_f33_a_signal_while_the_workers_start(boot: Boot) -> None:
    with_everything(boot).start(WEB_CONCURRENCY="2")
    servers.wait_until("they start", lambda: "Started parent process" in boot.err, START)
    code, seconds = boot.end()
    assert code in (0, 143, -signal.SIGTERM)
    assert seconds <= 10
    servers.wait_until("no orphan", lambda: not boot.family(), 2)


@pytest.mark.parametrize("workers", ["", " --workers 2"], ids=["one", "two"])
def test_f33_five_restarts_of_a_command_that_binds_the_port(boot: Boot, workers: str) -> None:
    (boot.bin / "uvicorn").unlink()
    command = f"uvicorn application:app --host 127.0.0.1 --port $PORT{workers}"
    for _ in range(5):
        boot.start(UVICORN_CMD=command, **UNWATCHED)
        servers.wait_until("it serves", lambda: ask(boot) == SERVING, START)
        client = socket.create_connection(("127.0.0.1", boot.port))
        client.sendall(b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n")  # kept open by the client
        assert client.recv(1)
        boot.end()
        assert "in use" not in boot.err
    assert boot.process.returncode in (0, -signal.SIGTERM)


def test_f33_only_the_port_is_replaced(boot: Boot) -> None:
    boot.start(
        UVICORN_CMD="uvicorn $PORT:${PORT} $PORTAL $PORT_A ${PORTAL} $HOME $$PORT"
    ).wait_until_serving()
    port = boot.port
    expected = f"uvicorn {port}:{port} $PORTAL $PORT_A ${{PORTAL}} $HOME ${port}"
    servers.wait_until("it runs", lambda: f"\n{expected}\n" in boot.out)


@pytest.mark.parametrize("lock", ["responder.lock", ""], ids=["lock", "no lock"])
def test_f33_a_process_that_got_the_responders_id_is_left_alone(
    boot: Boot, lock: str, tmp_path: Path
) -> None:
    (tmp_path / "responder.lock").touch()
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as stranger:
        names = {
            "RESPONDER_PID": str(stranger.pid),
            "RESPONDER_LOCK": lock and str(tmp_path / lock),
        }
        code = "from app.boot.startup import stop_responder; stop_responder()"
        subprocess.run([sys.executable, "-c", code], env=boot.environ | names, check=True)
        assert stranger.poll() is None
        stranger.kill()


# Fills the disk when the metrics are ready, and counts requests for many routes.
ON_A_FULL_DISK = """
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


def test_f33_a_full_disk_kills_no_worker(boot: Boot) -> None:
    unshare = ("unshare", "--user", "--map-root-user", "--mount")
    if not shutil.which("unshare") or subprocess.run([*unshare, "true"]).returncode:
        pytest.skip("no namespaces here")
    result = subprocess.run(
        [*unshare, sys.executable, "-c", ON_A_FULL_DISK, str(boot.folder)],
        env=boot.environ | {"ENTRYPOINT_PID": "1"},
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stdout) == (0, "counted\n"), result.stderr


@pytest.mark.parametrize("stack", ["local"], indirect=True)
def test_f33_restarts_on_the_local_runtime(stack: Stack, measured: Callable[[str], None]) -> None:
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
            servers.wait_until("it is healthy", stack.is_healthy, START)
            assert stack.service("backend")["restarts"] == 1
            assert not any(psutil.pid_exists(pid) for pid in processes)
            measured(f"restart-backend with two workers {restart['total_seconds']:.1f} s")
    finally:
        stack.ok("up")
