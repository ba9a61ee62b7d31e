"""From the responder to the application: the same socket, and nobody is refused."""

from __future__ import annotations

import contextlib
import http.client
import socket
import subprocess
import sys
import threading
import time

import pytest

from harness import servers
from tests.integration.boot.boots import APPLICATION, Boot

SERVING = {"phase": "serving"}
UNWATCHED = {"HEALTH_RESTART_AFTER": "0", "LIVE_RESTART_AFTER": "0"}


@pytest.fixture
def real(boot: Boot) -> Boot:
    """A boot with the real Uvicorn and a small application that takes its time to start."""
    (boot.bin / "uvicorn").unlink()
    (boot.folder / "application.py").write_text(f"import time; time.sleep(1)\n{APPLICATION}")
    return boot


def test_nobody_is_refused_during_a_boot(real: Boot) -> None:
    real.stub("alembic", "[ -e $FOLDER/tried ] || { touch $FOLDER/tried; exit 1; }")
    answers: list[object] = []
    done = threading.Event()

    def poll() -> None:
        while not done.wait(0.02):
            try:
                answers.append(real.health()["phase"])
            except (OSError, http.client.HTTPException, ValueError) as error:
                answers.append(error)

    pollers = [threading.Thread(target=poll) for _ in range(4)]
    command = "uvicorn application:app --fd 3"
    real.start(UVICORN_CMD=command, MIGRATE_DELAYS="0.5 0.5", **UNWATCHED)
    for poller in pollers:
        poller.start()
    try:
        servers.wait_until("it answers", lambda: answers and isinstance(answers[-1], str), 10)
        servers.wait_until("it serves", lambda: answers[-1] == "serving")
        count = len(answers)
        servers.wait_until("more answers", lambda: len(answers) > count + 50)
    finally:
        done.set()
        for poller in pollers:
            poller.join()
    while isinstance(answers[0], ConnectionRefusedError):
        del answers[0]
    assert set(answers) <= {"waiting", "migrating", "serving"}
    assert len(answers) > 50
    assert answers[-1] == "serving"
    # The application alone is left, in the entrypoint's own process.
    assert [process.pid for process in real.family()] == [real.process.pid]


def test_a_request_under_way_is_answered(real: Boot) -> None:
    real.start(UVICORN_CMD="uvicorn application:app --fd 3").until_it_serves()
    with socket.create_connection(("127.0.0.1", real.port), 5) as client:
        client.sendall(b"GET /live HTTP/1.1\r\n")
        responder = next(
            p
            for p in real.family()
            if p.pid != real.process.pid and "app.boot.startup" in p.cmdline()
        )
        servers.wait_until("it has accepted", lambda: len(responder.net_connections()) > 1)
        responder.terminate()
        time.sleep(0.1)
        client.sendall(b"\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200 OK")
    servers.wait_until("it serves", lambda: real.health() == SERVING)


# Responders on one socket, one after the other, each for a moment; the last until stdin ends.
RESPONDERS = """
import os, signal, socket, sys, time
from app import settings
from app.boot.responder import answer

listener = socket.create_server(("127.0.0.1", int(os.environ["PORT"])), backlog=2048)
config, parent, before = settings.load(), os.getpid(), 0
for _ in range(61):
    responder = os.fork()
    if responder == 0:
        answer(listener, config, parent)
        os._exit(0)
    time.sleep(0.05)
    if before:
        os.kill(before, signal.SIGTERM)
        os.waitpid(before, 0)
    before = responder
print("done", flush=True)
sys.stdin.read()
"""


def test_no_request_is_lost_in_many_handovers(lone_boot: Boot) -> None:
    """Requests without a pause: some are accepted in the very moment in which a responder ends."""
    answers: list[object] = []
    done = threading.Event()

    def poll() -> None:
        while not done.is_set():
            try:
                answers.append(lone_boot.ask("/live")[0])
            except (OSError, http.client.HTTPException) as error:
                answers.append(error)

    command, pipe = [sys.executable, "-c", RESPONDERS], subprocess.PIPE
    with subprocess.Popen(command, env=lone_boot.environ, stdin=pipe, stdout=pipe) as process:
        lone_boot.listens()
        pollers = [threading.Thread(target=poll) for _ in range(4)]
        for poller in pollers:
            poller.start()
        try:
            assert process.stdout.readline() == b"done\n"
        finally:
            done.set()
            for poller in pollers:
                poller.join()
            process.stdin.close()
    assert len(answers) > 1000
    assert set(answers) == {200}


def test_a_command_that_binds_the_port_itself(real: Boot) -> None:
    """Whatever it serves: it need not know of a responder."""
    unaware = APPLICATION.replace("        stop_responder()\n", "")
    (real.folder / "application.py").write_text(unaware)
    command = "uvicorn application:app --host 127.0.0.1 --port $PORT"
    real.start(UVICORN_CMD=command, **UNWATCHED)
    real.until_it_serves()

    def serves() -> bool:
        # What the responder had accepted when it was ended is reset.
        with contextlib.suppress(ConnectionError):
            return servers.answers(real.port) and real.health() == SERVING
        return False

    servers.wait_until("it serves", serves)
    assert [process.pid for process in real.family()] == [real.process.pid]


def test_the_port_in_braces(boot: Boot) -> None:
    boot.start(UVICORN_CMD="uvicorn 'a b' --port=${PORT} $HOME").until_it_serves()
    servers.wait_until("it runs", lambda: f"\nuvicorn a b --port={boot.port} $HOME\n" in boot.out)


def test_small_answers_are_not_delayed(boot: Boot) -> None:
    """Uvicorn leaves TCP_NODELAY alone on an inherited socket: accepted ones must have it."""
    code = (
        "import socket; from app.boot.startup import stop_responder; stop_responder()\n"
        "listener = socket.socket(fileno=3); listener.setblocking(True); print('here', flush=True)\n"
        "client = listener.accept()[0]\n"
        "print(client.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))"
    )
    variables = {
        **{"DB_WAIT_TIMEOUT": "60", "MIGRATE_TIMEOUT": "0", "MIGRATE_DELAYS": "1"},
        **{"ALEMBIC_CMD": "", "UVICORN_CMD": "x", "WEB_CONCURRENCY": "1"},
        **UNWATCHED,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "app.boot.startup", "--", sys.executable, "-c", code],
        env=boot.environ | variables,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout.readline() == "here\n"
        socket.create_connection(("127.0.0.1", boot.port)).close()
        assert int(process.stdout.readline()) != 0
