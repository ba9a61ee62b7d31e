"""The handover from the responder to the application: one socket, and no refused connection."""

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
    """Return a boot with the real Uvicorn and a small application that starts slowly."""
    (boot.bin / "uvicorn").unlink()
    (boot.folder / "application.py").write_text(f"import time; time.sleep(1)\n{APPLICATION}")
    return boot


def test_boot_refuses_no_connection(real: Boot) -> None:
    real.stub("alembic", "[ -e $FOLDER/tried ] || { touch $FOLDER/tried; exit 1; }")
    results: list[object] = []
    done = threading.Event()

    def poll() -> None:
        while not done.wait(0.02):
            try:
                results.append(real.health()["phase"])
            except (OSError, http.client.HTTPException, ValueError) as error:
                results.append(error)

    pollers = [threading.Thread(target=poll) for _ in range(4)]
    command = "uvicorn application:app --fd 3"
    real.start(UVICORN_CMD=command, MIGRATE_DELAYS="0.5 0.5", **UNWATCHED)
    for poller in pollers:
        poller.start()
    try:
        servers.wait_until("it answers", lambda: results and isinstance(results[-1], str), 10)
        servers.wait_until("it serves", lambda: results[-1] == "serving")
        count = len(results)
        servers.wait_until("more responses", lambda: len(results) > count + 50)
    finally:
        done.set()
        for poller in pollers:
            poller.join()
    while isinstance(results[0], ConnectionRefusedError):
        del results[0]
    assert set(results) <= {"waiting", "migrating", "serving"}
    assert len(results) > 50
    assert results[-1] == "serving"
    # Only the application is running, in the process of the entrypoint.
    assert [process.pid for process in real.family()] == [real.process.pid]


def test_handover_answers_an_in_flight_request(real: Boot) -> None:
    real.start(UVICORN_CMD="uvicorn application:app --fd 3").wait_until_serving()
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


# Responders on one socket, one after the other, each for a moment; the last until stdin is closed.
RESPONDERS = """
import os, signal, socket, sys, time
from app import settings
from app.boot.responder import serve

listener = socket.create_server(("127.0.0.1", int(os.environ["PORT"])), backlog=2048)
config, parent, previous = settings.load(), os.getpid(), 0
for _ in range(61):
    responder = os.fork()
    if responder == 0:
        serve(listener, config, parent)
        os._exit(0)
    time.sleep(0.05)
    if previous:
        os.kill(previous, signal.SIGTERM)
        os.waitpid(previous, 0)
    previous = responder
print("done", flush=True)
sys.stdin.read()
"""


def test_handover_loses_no_request(lone_boot: Boot) -> None:
    """With continuous requests, some are accepted at the moment when a responder stops."""
    results: list[object] = []
    done = threading.Event()

    def poll() -> None:
        while not done.is_set():
            try:
                results.append(lone_boot.ask("/live")[0])
            except (OSError, http.client.HTTPException) as error:
                results.append(error)

    command, pipe = [sys.executable, "-c", RESPONDERS], subprocess.PIPE
    with subprocess.Popen(command, env=lone_boot.environ, stdin=pipe, stdout=pipe) as process:
        lone_boot.wait_until_listening()
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
    assert len(results) > 1000
    assert set(results) == {200}


def test_handover_to_a_command_that_binds_the_port(real: Boot) -> None:
    """Such an application does not need to stop the responder."""
    unaware = APPLICATION.replace("        stop_responder()\n", "")
    (real.folder / "application.py").write_text(unaware)
    command = "uvicorn application:app --host 127.0.0.1 --port $PORT"
    real.start(UVICORN_CMD=command, **UNWATCHED)
    real.wait_until_serving()

    def is_serving() -> bool:
        # Connections that the responder had accepted are reset when it stops.
        with contextlib.suppress(ConnectionError):
            return servers.is_listening(real.port) and real.health() == SERVING
        return False

    servers.wait_until("it serves", is_serving)
    assert [process.pid for process in real.family()] == [real.process.pid]


def test_uvicorn_cmd_expands_port_in_braces(boot: Boot) -> None:
    boot.start(UVICORN_CMD="uvicorn 'a b' --port=${PORT} $HOME").wait_until_serving()
    servers.wait_until("it runs", lambda: f"\nuvicorn a b --port={boot.port} $HOME\n" in boot.out)


def test_accepted_sockets_have_tcp_nodelay(boot: Boot) -> None:
    """Uvicorn does not set TCP_NODELAY on an inherited socket."""
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
