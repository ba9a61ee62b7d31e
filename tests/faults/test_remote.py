"""An engine elsewhere, while a decoy that answers perfectly has the same port here."""

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

# Answers /ready like a backend whose database is stopped, until it finds the file /tmp/well.
SERVER = """
import http.server, json, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        db = os.path.exists("/tmp/well")
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
    with engines.engine(linked=True) as own:
        engines.load(own, "python:3.11-slim", "redis:7")
        yield own


class Decoy(http.server.ThreadingHTTPServer):
    """Something else on 127.0.0.1 of this machine, in perfect health."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Perfect)
        self.requests = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Perfect(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append(self.path)
        answer = json.dumps(body()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

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
    """A project on an engine elsewhere whose service `web` publishes a port there."""
    words = json.dumps([word.replace("$", "$$") for word in command])
    services = SERVICES.format(image=image, command=words, port=port)
    with engines.project(folder, services, host, profile="PROFILE") as stack:
        configure(stack, "/ready")
        yield stack


def context(folder, host):
    """Variables that choose an engine by a Docker context."""
    folder.mkdir()
    (folder / "config.json").write_text("{}")  # without it the SDK finds no context
    chosen = {"DOCKER_CONFIG": str(folder), "DOCKER_HOST": "", "DOCKER_CONTEXT": "far"}
    create = ("context", "create", "far", "--docker", f"host={host}")
    environment = dockerized.environment(**chosen | {"DOCKER_CONTEXT": ""})
    dockerized.docker(*create, env=environment)
    return chosen


def configure(stack, health):
    settings = f"stack: {{service: web, ready: '{health}'}}\n"
    (stack.root / "invoke.yaml").write_text(settings, "utf-8")


@pytest.mark.parametrize("way", ["host", "tcp"])
def test_f35_health_is_asked_in_the_container_and_not_at_a_decoy(
    remote, decoy, tmp_path, way, measured
):
    host = getattr(remote, way)
    with project(tmp_path / f"health-{way}", host, decoy.server_port) as stack:
        seen = stack.json("health")
        assert (seen["state"], seen["health"]["version"]) == ("unhealthy", "remote")
        shown = stack.inv("health")
        assert shown.returncode == 3
        assert "the database does not answer" in shown.stdout
        assert "through the engine" in shown.stdout
        stack.compose("exec", "web", "touch", "/tmp/well")
        assert stack.json("health")["state"] == "healthy"
        stack.ok("status")
        stack.inv("doctor")
        in_context = context(tmp_path / "docker", host)
        assert stack.json("health", env=in_context)["health"]["version"] == "remote"
        stack.compose("stop", "web")
        assert stack.json("health")["state"] == "unreachable"
    assert decoy.requests == []
    measured(f"{host.partition(':')[0]}: the container's answers, 0 requests at the decoy")


def test_f35_a_restart_is_judged_by_the_container(remote, decoy, tmp_path, measured):
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


def test_f35_a_container_that_cannot_be_asked_is_unknown(remote, decoy, tmp_path):
    command = ("sh", "-c", "echo serving; exec sleep 1000")
    host, port = remote.host, decoy.server_port
    with project(tmp_path / "unknown", host, port, "redis:7", command) as stack:
        shown = stack.inv("health")
        assert shown.returncode == 3
        reason = "its container has no curl, wget or python to send requests"
        assert f"web is unknown ({reason})" in shown.stdout
        seen = stack.json("health")
        assert (seen["state"], seen["http_status"], seen["reason"]) == ("unknown", None, reason)
        restarted = stack.inv("restart-backend", "--json")
        assert restarted.returncode == 3
        verdict = json.loads(restarted.stdout)
        assert (verdict["verdict"], verdict["reason"]) == ("unknown", reason)
        assert verdict["total_seconds"] < 60
        found = stack.json("doctor")["findings"]
        assert ["health", [reason]] in [[each["check"], each["evidence"]] for each in found]
    assert decoy.requests == []


def test_f35_an_address_of_this_machine_is_not_that_of_a_service_elsewhere(remote, decoy, tmp_path):
    with project(tmp_path / "address", remote.host, decoy.server_port) as stack:
        configure(stack, f"{decoy.url}/healthz")
        seen = stack.json("health")
        assert seen["state"] == "unknown"
        assert "set stack.ready in invoke.yaml to a path: /healthz" in seen["reason"]
        assert stack.json("restart-backend")["verdict"] == "unknown"
        assert decoy.requests == []
        asked = stack.json("health", "--url", decoy.url)  # the user's own wish
        assert asked["state"] == "healthy"
        assert decoy.requests == ["/healthz"]


def test_f35_a_missing_ssh_program_is_named_with_its_remedy(tmp_path):
    environment = clean_environment(DOCKER_HOST="ssh://joe@far.example:2222", PATH=str(tmp_path))
    result = subprocess.run(
        [sys.executable, "-m", "invoke", "health", "--runtime", "compose"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 4
    first, second = result.stderr.splitlines()
    assert "the command `ssh` is not installed" in first
    assert "ssh://joe@far.example:2222" in first
    assert "openssh-client" in second
