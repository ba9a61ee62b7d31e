"""The GET of a health check: its total time is bounded, and it names what went wrong."""

import contextlib
import socket
import threading
import time
from dataclasses import replace

import pytest

from harness.servers import free_port
from invoke_stack import model
from invoke_stack.commands import health
from invoke_stack.model import Answer, Replica, State, Status
from invoke_stack.profile import readiness
from invoke_stack.runtimes import http


@contextlib.contextmanager
def server(*pieces, pause=0.0):
    """Send these pieces on each connection, with pauses; yield the URL and the requests."""

    def serve():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with contextlib.suppress(OSError), connection:
                    requests.append(connection.recv(4096))
                    for piece in pieces:
                        connection.sendall(piece)
                        time.sleep(pause)

    requests = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", requests
        listener.shutdown(socket.SHUT_RDWR)


WEB = Replica("web", "web", "node", Status.RUNNING)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n"


def test_fetch_returns_status_and_body():
    with server(HEAD + b'{"db": true}') as (url, requests):
        answer = http.fetch(f"{url}/käse?x=1%20", 3)
    assert (answer.status, answer.body, answer.problem) == (200, {"db": True}, "")
    assert requests[0].startswith(b"GET /k%C3%A4se?x=1%20 HTTP/1.1\r\n")


def test_fetch_does_not_follow_a_redirect():
    with server(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n") as (url, _):
        assert http.fetch(url, 3).status == 302


@pytest.mark.parametrize("head", [b"", HEAD, b"HTTP/1.1 200 OK\r\n"])
def test_fetch_times_out_when_the_response_only_trickles(head):
    with server(head, *[b" "] * 50, pause=0.1) as (url, _):
        answer = http.fetch(url, 0.3)
    assert (answer.status, answer.problem) == (None, "no answer within 0.3 s")
    assert answer.seconds < 2


@pytest.mark.parametrize(
    ("response", "problem"),
    [
        (b"", "the connection was closed without an answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "the response is not HTTP"),
    ],
)
def test_fetch_reports_a_response_that_is_not_http(response, problem):
    with server(response) as (url, _):
        answer = http.fetch(url, 3)
    assert (answer.status, answer.body, answer.problem) == (None, {}, problem)


def test_fetch_reports_why_it_cannot_connect():
    assert http.fetch(f"http://127.0.0.1:{free_port()}/", 3).problem == "connection refused"
    assert http.fetch("http://nowhere.invalid/", 3).problem == "cannot connect"
    assert "out of range" in http.fetch("http://127.0.0.1:99999/", 3).problem


@pytest.mark.parametrize(
    ("url", "is_loopback"),
    [
        ("http://127.0.0.1:8000/healthz", True),
        ("http://127.8.0.1/", True),
        ("http://localhost:8000", True),
        ("http://shop.localhost/", True),
        ("https://[::1]:8443/", True),
        ("http://0.0.0.0:8000/", True),
        ("http://192.168.0.7:8000/", False),
        ("https://example.org/healthz", False),
        ("http://[2001:db8::1]/", False),
    ],
)
def test_is_loopback_recognises_addresses_of_this_machine(url, is_loopback):
    assert health.is_loopback(url) is is_loopback


def test_health_is_unknown_when_the_request_could_not_be_sent():
    answer = Answer("", None, {}, 0.0, "no program", was_sent=False)
    result = readiness.read_health(answer, WEB, readiness.Readiness("/healthz"))
    assert (result.state, result.reason) == (State.UNKNOWN, "no program")


@pytest.mark.parametrize(
    ("other", "worst"),
    [
        (State.HEALTHY, State.UNKNOWN),
        (State.STARTING, State.UNKNOWN),
        (State.UNHEALTHY, State.UNHEALTHY),
        (State.UNREACHABLE, State.UNREACHABLE),
    ],
)
def test_worst_ranks_unknown_between_good_and_bad_states(other, worst):
    answer = Answer("", None, {}, 0.0, was_sent=False)
    unknown = readiness.read_health(answer, WEB, readiness.Readiness("/healthz"))
    assert model.worst([unknown, replace(unknown, state=other)]).state is worst
