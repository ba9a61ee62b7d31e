"""Asking over HTTP from inside real containers, with whichever program the image has."""

import os
import shutil
import time

import pytest

from harness import dockerized
from harness.servers import wait_until
from invoke_stack.errors import OutOfReach
from invoke_stack.runtimes.docker import container_exec, engine

pytestmark = pytest.mark.engine

# Answers each path in a way of its own, on the port 8000.
SERVER = """
import http.server, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/nothing":
            return
        if self.path == "/silent":
            time.sleep(60)
        redirect = {"Location": "http://127.0.0.1:8000/good"} if self.path == "/moved" else {}
        status = {"/bad": 503, "/moved": 302}.get(self.path, 200)
        body = b'{"path": "%s"}' % self.path.encode()
        self.send_response(status)
        for name, value in {"Content-Length": len(body), "Keep-Alive": "timeout=5", **redirect}.items():
            self.send_header(name, str(value))
        self.end_headers()
        for byte in body:
            time.sleep(0.5 if self.path == "/drip" else 0)
            self.wfile.write(bytes([byte]))
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("", 8000), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def client():
    dockerized.require_engine()
    return engine.connect(os.environ)


@pytest.fixture(scope="module")
def server(client):
    """A container with Python that serves, and no other program to ask with."""
    with dockerized.container("python:3.11-slim", command=("python3", "-c", SERVER)) as made:
        wait_until("it serves", lambda: ask(client, made, "/good").status == 200)
        yield made


@pytest.fixture(scope="module", params=["python", "curl", "busybox"])
def program(request, client, server):
    """One that shares the server's network, by the program that it has."""
    options = ["--network", f"container:{server.id}", "--entrypoint", "sleep"]
    image = "redis:7"
    match request.param:
        case "python":
            yield server
            return
        case "curl":
            image = "nginxinc/nginx-unprivileged:1.27"
        case "busybox":
            if not (busybox := shutil.which("busybox")):
                pytest.skip("no busybox on this machine")
            options += ["--volume", f"{busybox}:/usr/local/bin/wget:ro"]
    with dockerized.container(image, *options, command=("1000",)) as made:
        yield made


def ask(client, container, path, timeout=3.0):
    return container_exec.get(client, container.id, f"http://127.0.0.1:8000{path}", timeout)


def test_a_good_answer_is_read(client, program):
    answer = ask(client, program, "/good")
    assert (answer.status, answer.body, answer.problem) == (200, {"path": "/good"}, "")
    assert answer.was_sent
    assert answer.through_engine


def test_a_bad_answer_is_an_answer(client, program, request):
    answer = ask(client, program, "/bad")
    shows_no_body = "busybox" in request.node.name
    assert (answer.status, answer.body) == (503, {} if shows_no_body else {"path": "/bad"})


def test_a_redirect_is_not_taken_for_its_target(client, program):
    assert ask(client, program, "/moved").status == 302


@pytest.mark.parametrize("path", ["/silent", "/drip"])
def test_a_slow_answer_is_none(client, program, path):
    answer = ask(client, program, path, 1.0)
    assert (answer.status, answer.problem) == (None, "no answer within 1 s")
    assert answer.was_sent


def test_a_program_ends_by_itself_in_time(client, program):
    ask(client, program, "/silent", 1.0)

    def is_over():
        commands = dockerized.docker("top", program.id, "-eo", "pid,args").stdout
        return ":8000/silent" not in commands

    wait_until("nothing is left of it", is_over)


def test_a_closed_port_and_a_closed_connection_are_no_answer(client, program):
    refused = container_exec.get(client, program.id, "http://127.0.0.1:8001/", 3.0)
    assert (refused.status, refused.problem, refused.was_sent) == (None, "connection refused", True)
    closed = ask(client, program, "/nothing")
    problem = "the connection was closed without an answer"
    assert (closed.status, closed.problem, closed.was_sent) == (None, problem, True)


def test_an_image_without_any_program_cannot_ask(client, server):
    network = f"container:{server.id}"
    options = ("--network", network, "--entrypoint", "sleep")
    with dockerized.container("redis:7", *options, command=("1000",)) as made:
        answer = ask(client, made, "/good")
    assert not answer.was_sent
    assert answer.problem == "its container has no wget, curl or python to ask with"


def test_a_command_that_hangs_is_given_up(client, server):
    begin = time.monotonic()
    with pytest.raises(OutOfReach, match=r"`sleep` in container \w+ took more than 1 s"):
        container_exec.run(client, server.id, ("sleep", "30"), 1.0)
    assert time.monotonic() - begin < 10


def test_a_container_that_does_not_run_cannot_be_asked(client):
    with dockerized.container("redis:7", command=("true",)) as made:
        wait_until("it has ended", lambda: not made.inspect()["State"]["Running"])
        with pytest.raises(OutOfReach, match="not running"):
            ask(client, made, "/good")
