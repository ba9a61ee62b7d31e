"""HTTP requests from inside real containers, with each program that an image may have."""

import os
import shutil
import time

import pytest

from harness import dockerized
from harness.servers import wait_until
from invoke_stack.errors import OutOfReach
from invoke_stack.runtimes.docker import container_exec, engine

pytestmark = pytest.mark.engine

# Listens on port 8000 and responds to each path in a different way.
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
    """Yield a container that runs SERVER and has Python as its only HTTP client."""
    with dockerized.container("python:3.11-slim", command=("python3", "-c", SERVER)) as server:
        wait_until("it serves", lambda: get(client, server, "/good").status == 200)
        yield server


@pytest.fixture(scope="module", params=["python", "curl", "busybox"])
def requester(request, client, server):
    """Yield a container in the server's network namespace, for each HTTP client."""
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
    with dockerized.container(image, *options, command=("1000",)) as container:
        yield container


def get(client, container, path, timeout=3.0):
    return container_exec.get(client, container.id, f"http://127.0.0.1:8000{path}", timeout)


def test_get_returns_status_and_body(client, requester):
    answer = get(client, requester, "/good")
    assert (answer.status, answer.body, answer.problem) == (200, {"path": "/good"}, "")
    assert answer.was_sent
    assert answer.through_engine


def test_get_returns_error_responses(client, requester, request):
    answer = get(client, requester, "/bad")
    hides_body = "busybox" in request.node.name
    assert (answer.status, answer.body) == (503, {} if hides_body else {"path": "/bad"})


def test_get_does_not_follow_redirects(client, requester):
    assert get(client, requester, "/moved").status == 302


@pytest.mark.parametrize("path", ["/silent", "/drip"])
def test_get_times_out_on_slow_responses(client, requester, path):
    answer = get(client, requester, path, 1.0)
    assert (answer.status, answer.problem) == (None, "no answer within 1 s")
    assert answer.was_sent


def test_http_client_exits_after_its_timeout(client, requester):
    get(client, requester, "/silent", 1.0)

    def has_exited():
        commands = dockerized.docker("top", requester.id, "-eo", "pid,args").stdout
        return ":8000/silent" not in commands

    wait_until("the process has exited", has_exited)


def test_get_reports_refused_and_closed_connections(client, requester):
    refused = container_exec.get(client, requester.id, "http://127.0.0.1:8001/", 3.0)
    assert (refused.status, refused.problem, refused.was_sent) == (None, "connection refused", True)
    closed = get(client, requester, "/nothing")
    problem = "the connection was closed without an answer"
    assert (closed.status, closed.problem, closed.was_sent) == (None, problem, True)


def test_get_reports_an_image_without_http_client(client, server):
    network = f"container:{server.id}"
    options = ("--network", network, "--entrypoint", "sleep")
    with dockerized.container("redis:7", *options, command=("1000",)) as container:
        answer = get(client, container, "/good")
    assert not answer.was_sent
    assert answer.problem == "its container has no curl, wget or python to send requests"


def test_run_times_out_when_the_command_hangs(client, server):
    begin = time.monotonic()
    with pytest.raises(OutOfReach, match=r"`sleep` in container \w+ took more than 1 s"):
        container_exec.run(client, server.id, ("sleep", "30"), 1.0)
    assert time.monotonic() - begin < 10


def test_get_raises_for_a_stopped_container(client):
    with dockerized.container("redis:7", command=("true",)) as container:
        wait_until("it has exited", lambda: not container.inspect()["State"]["Running"])
        with pytest.raises(OutOfReach, match="not running"):
            get(client, container, "/good")
