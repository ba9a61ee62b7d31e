"""A remote engine, while a healthy decoy listens on the same port of this machine."""

import contextlib
import http.server
import json
import subprocess
import sys
import threading

import pytest

from harness import dockerized, engines
from harness.servers import clean_environment
from harness.stacks import ROOT
from tests.support.fakes import body

pytestmark = pytest.mark.engine

# Responds to /ready like a backend whose database is stopped, until the file /tmp/healthy exists.
SERVER = """
import http.server, json, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        db = os.path.exists("/tmp/healthy")
        body = json.dumps({"ok": db, "db": db, "redis": True, "queue_depth": 0, "version": "remote",
                           "phase": "serving", "migrations": "current"}).encode()
        self.send_response(200 if db else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
print("[entrypoint] Starting Uvicorn application...", flush=True)
http.server.ThreadingHTTPServer(("", 8000), Handler).serve_forever()
"""

SERVICES = """
services:
  web:
    image: {image}
    command: {command}
    ports: ["127.0.0.1:{port}:8000"]
    stop_grace_period: 1s
"""


@pytest.fixture(scope="module")
def remote():
    with engines.engine(linked=True) as engine:
        engines.load(engine, "python:3.11-slim", "redis:7")
        yield engine


class Decoy(http.server.ThreadingHTTPServer):
    """A healthy backend of another stack, on 127.0.0.1 of this machine."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Healthy)
        self.requests = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append(self.path)
        response = json.dumps(body()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(response)))
        self.end_headers()
        self.wfile.write(response)

    def log_message(self, *_):
        pass


@pytest.fixture
def decoy():
    with Decoy() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@contextlib.contextmanager
def project(folder, host, port, image="python:3.11-slim", command=("python", "-c", SERVER)):
    """Yield a project on a remote engine whose service `web` publishes a port there."""
    arguments = json.dumps([argument.replace("$", "$$") for argument in command])
    services = SERVICES.format(image=image, command=arguments, port=port)
    with engines.project(folder, services, host, profile="PROFILE") as stack:
        configure(stack, "/ready")
        yield stack


def context(folder, host):
    """Create a Docker context for an engine; return the variables that choose it."""
    folder.mkdir()
    (folder / "config.json").write_text("{}")  # without it the SDK finds no context
    variables = {"DOCKER_CONFIG": str(folder), "DOCKER_HOST": "", "DOCKER_CONTEXT": "remote"}
    create = ("context", "create", "remote", "--docker", f"host={host}")
    environment = dockerized.environment(**variables | {"DOCKER_CONTEXT": ""})
    dockerized.docker(*create, env=environment)
    return variables


def configure(stack, ready):
    settings = f"stack: {{service: web, ready: '{ready}'}}\n"
    (stack.root / "invoke.yaml").write_text(settings, "utf-8")


@pytest.mark.parametrize("protocol", ["host", "tcp"])
def test_f35_health_is_checked_in_the_container_and_not_at_the_decoy(
    remote, decoy, tmp_path, protocol, measured
):
    host = getattr(remote, protocol)
    with project(tmp_path / f"health-{protocol}", host, decoy.server_port) as stack:
        health = stack.json("health")
        assert (health["state"], health["health"]["version"]) == ("unhealthy", "remote")
        result = stack.inv("health")
        assert result.returncode == 3
        assert "the database does not answer" in result.stdout
        assert "through the engine" in result.stdout
        stack.compose("exec", "web", "touch", "/tmp/healthy")
        assert stack.json("health")["state"] == "healthy"
        stack.ok("status")
        stack.inv("doctor")
        in_context = context(tmp_path / "docker", host)
        assert stack.json("health", env=in_context)["health"]["version"] == "remote"
        stack.compose("stop", "web")
        assert stack.json("health")["state"] == "unreachable"
    assert decoy.requests == []
    measured(f"{host.partition(':')[0]}: health of the container, 0 requests at the decoy")


def test_f35_restart_verdict_comes_from_the_container(remote, decoy, tmp_path, measured):
    with project(tmp_path / "restart", remote.tcp, decoy.server_port) as stack:
        verdict = stack.json("restart-backend")
        assert (verdict["verdict"], verdict["reason"]) == (
            "failed",
            "the database does not answer",
        )
        assert verdict["health"]["version"] == "remote"
        [line] = stack.ok("logs", "web", "--tail", "1", "--json").splitlines()
        assert json.loads(line)["node"] == remote.address
    assert decoy.requests == []
    measured("restart: *failed* with the remote database stopped, 0 requests at the decoy")


def test_f35_health_is_unknown_without_a_client_in_the_container(remote, decoy, tmp_path):
    command = ("sh", "-c", "echo serving; exec sleep 1000")
    host, port = remote.host, decoy.server_port
    with project(tmp_path / "unknown", host, port, "redis:7", command) as stack:
        result = stack.inv("health")
        assert result.returncode == 3
        reason = "its container has no curl, wget or python to send requests"
        assert f"web is unknown: {reason}" in result.stdout
        health = stack.json("health")
        assert (health["state"], health["http_status"]) == ("unknown", None)
        assert health["reason"] == reason
        restart = stack.inv("restart-backend", "--json")
        assert restart.returncode == 3
        verdict = json.loads(restart.stdout)
        assert (verdict["verdict"], verdict["reason"]) == ("unknown", reason)
        assert verdict["total_seconds"] < 60
        findings = stack.json("doctor")["findings"]
        pairs = [[finding["check"], finding["evidence"]] for finding in findings]
        assert ["health", [reason]] in pairs
    assert decoy.requests == []


def test_f35_local_url_is_not_used_for_a_remote_service(remote, decoy, tmp_path):
    with project(tmp_path / "address", remote.host, decoy.server_port) as stack:
        configure(stack, f"{decoy.url}/healthz")
        health = stack.json("health")
        assert health["state"] == "unknown"
        assert "set stack.ready in invoke.yaml to a path: /healthz" in health["reason"]
        assert stack.json("restart-backend")["verdict"] == "unknown"
        assert decoy.requests == []
        health = stack.json("health", "--url", decoy.url)  # explicitly requested
        assert health["state"] == "healthy"
        assert decoy.requests == ["/healthz"]


def test_f35_missing_ssh_program_is_reported_with_a_fix(tmp_path):
    environment = clean_environment(DOCKER_HOST="ssh://joe@far.example:2222", PATH=str(tmp_path))
    result = subprocess.run(
        [sys.executable, "-m", "invoke", "health", "--runtime", "compose"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 4
    message, hint = result.stderr.splitlines()
    assert "the command `ssh` is not installed" in message
    assert "ssh://joe@far.example:2222" in message
    assert "openssh-client" in hint
