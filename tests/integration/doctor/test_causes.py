"""`inv doctor` under causes that are injected for real: checkouts, engines, containers, disks."""

import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deal_scout_profile import PROFILE
from harness import dockerized, engines
from harness.servers import clean_environment, free_port, wait_until
from harness.stacks import ROOT, Stack, copy_checkout
from invoke_stack import config
from invoke_stack.commands.gather import gather
from invoke_stack.judge import checks

NOWHERE = "unix:///nowhere/docker.sock"


def examine(stack, *words, code=3, **env):
    """Each finding in one text, by its check."""
    result = stack.inv("doctor", "--json", *words, env=env, timeout=60)
    assert result.returncode == code, result
    assert result.stderr == ""
    seen = json.loads(result.stdout)
    assert list(seen) == ["runtime", "findings", "checks"]
    found = {}
    for each in seen["findings"]:
        assert each["remedy"], each
        text = " | ".join((each["what"], *each["evidence"], each["remedy"]))
        found.setdefault(each["check"], []).append(text)
    wrong = [each["name"] for each in seen["checks"] if each["result"] == "wrong"]
    assert sorted(found) == sorted(wrong)
    return {check: "\n".join(texts) for check, texts in found.items()}


def snapshot(root):
    """Every file with its content, but for what Python compiled."""
    files = (path for path in root.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {path.relative_to(root): path.read_bytes() for path in files}


@pytest.fixture
def checkout(tmp_path):
    """A checkout in which nothing is up, and no engine."""
    environment = clean_environment(DOCKER_HOST=NOWHERE)
    return Stack(copy_checkout(tmp_path / "checkout"), "", environment)


# The checkout, with nothing up


def test_a_fresh_checkout_is_merely_not_up(checkout):
    before = snapshot(checkout.root)
    assert examine(checkout, "--runtime", "local") == {
        "running": "the stack is not up | start it with: inv up"
    }
    assert snapshot(checkout.root) == before


def test_a_checkout_that_is_spoilt_in_every_way(checkout):
    root = checkout.root
    script = root / "backend" / "entrypoint.sh"
    script.write_bytes(script.read_bytes().replace(b"\n", b"\r\n"))
    script.chmod(0o644)
    versions = root / "alembic" / "versions"
    (versions / "0003_b.py").write_text('revision = "b"\ndown_revision = "0002_deals_checks"\n')
    (root / ".env").write_text(
        "POSTGRES_PASSWORD=sentinel-1\nDB_PROT=5432\nthis is no setting\nPORT=70000\n"
        "DATABASE_URL=postgresql://scout:sentinel-2@db.example:5433/x\nDB_HOST=postgres\n"
        "ALEMBIC_CMD=alembic 'upgrade head\n"
    )
    before = snapshot(root)
    found = examine(checkout, "--runtime", "compose")
    assert snapshot(root) == before
    for check, told in {
        "engine": "its socket does not exist | Docker endpoint: unix:///nowhere/docker.sock",
        "env": "REDIS_PASSWORD is not set",
        "addresses": "points to db.example:5433 and takes precedence; they say postgres:5433",
        "entrypoint": "(CRLF)",
        "revisions": "have 2 heads: b, 0003_deals_newest",
        "alembic-cmd": "no closing quotation",
    }.items():
        assert told in found[check], found
    for told in (
        "line 3 is not NAME=value",
        "invalid value '70000' for PORT in .env",
        "did you mean DB_PORT?",
    ):
        assert told in found["env"]
    assert "executable bit" in found["entrypoint"]
    assert "sentinel" not in str(found)
    # And for people.
    shown = checkout.inv("doctor", "--runtime", "compose").stdout
    assert shown.startswith("✗ Docker does not answer: its socket does not exist\n")
    assert "\x1b" not in shown
    assert "sentinel" not in shown
    # What it named as the remedy.
    commands = "git init -q; git add -A; git commit -qm x; rm backend/entrypoint.sh"
    subprocess.run(["sh", "-c", f"{commands}; git checkout -q -- backend"], cwd=root, check=False)
    assert b"\r\n" not in script.read_bytes()


# Engines


def test_an_engine_that_is_named_and_does_not_answer_is_examined(checkout):
    found = examine(checkout)
    assert "its socket does not exist" in found["engine"]
    assert "running" not in found  # that is not known


def test_a_stopped_local_stack_needs_no_docker(checkout):
    (checkout.root / ".local").mkdir()
    (checkout.root / ".local" / "stack.json").write_text("{}")
    assert list(examine(checkout)) == ["running"]


def test_a_context_that_does_not_exist(checkout, tmp_path):
    more = {"DOCKER_HOST": "", "DOCKER_CONTEXT": "misspelt", "DOCKER_CONFIG": str(tmp_path)}
    found = examine(checkout, "--runtime", "compose", **more)
    assert found["context"].startswith("there is no Docker context 'misspelt' | there are: default")
    assert "engine" not in found  # the same cause


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (
            "echo \"docker: 'compose' is not a docker command.\" >&2; exit 1",
            "has no Compose plugin",
        ),
        ("echo v2.4.1", "Docker Compose 2.4.1 is too old"),
    ],
)
def test_a_compose_plugin_that_is_missing_or_too_old(checkout, tmp_path, script, told):
    command = tmp_path / "docker"
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)
    path = os.pathsep.join([str(tmp_path), "/usr/bin", "/bin"])
    assert told in examine(checkout, "--runtime", "compose", PATH=path)["compose"]


class Late(http.server.BaseHTTPRequestHandler):
    """An engine of an old version, whose clock is an hour behind."""

    def do_GET(self):
        now = datetime.now(UTC) - timedelta(hours=1)
        info = {"ServerVersion": "19.03.8", "SystemTime": now.isoformat(), "DockerRootDir": "/none"}
        told = {"info": info, "json": [], "networks": [], "version": {"ApiVersion": "1.44"}}
        told["volumes"] = {"Volumes": []}
        body = json.dumps(told.get(self.path.partition("?")[0].rpartition("/")[2], "OK")).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_an_engine_that_is_too_old_and_whose_clock_is_wrong(checkout):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Late) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host = f"tcp://127.0.0.1:{server.server_port}"
        found = examine(checkout, "--runtime", "compose", DOCKER_HOST=host)
        server.shutdown()
    assert "Docker Engine 19.03.8 is too old" in found["engine"]
    assert "the engine's clock is 3600 s behind" in found["clock"]
    assert "no containers of the project" in found["running"]


def test_an_engine_that_hangs_holds_up_nothing(checkout):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        environ = {"DOCKER_HOST": f"tcp://127.0.0.1:{silent.getsockname()[1]}"}
        loaded = config.load(checkout.root, config.DEFAULTS, environ, "compose", profile=PROFILE)
        waited: list[str] = []
        begin = time.monotonic()
        facts = gather(loaded, [], environ, lambda names, _: waited.extend(names), limit=1.0)
    assert time.monotonic() - begin < 5
    assert facts.timed_out == ["Docker Engine"]
    assert "Docker Engine" in waited
    assert facts.disk.result().free
    assert facts.extra["revisions"].result()  # what does not need it is known
    wrong = {each.check for each in checks.examine(facts) if each.findings}
    assert "answers" in wrong
    assert wrong.isdisjoint({"engine", "running"})  # the same cause


# Disks


def test_a_disk_that_is_full(tmp_path):
    if sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("a disk of its own needs root on Linux, and unshare")
    small = tmp_path / "small"
    small.mkdir()
    inv = f"{sys.executable} -B -m invoke doctor --json --runtime compose"
    steps = (
        f"mount -t tmpfs -o size=8m none {small}",
        f"cp {ROOT}/tests/integration/adoption/greeter/* {small}",
        f"head -c 8200000 /dev/zero > {small}/full",
        f"cd {small}",
        f"exec {inv}",
    )
    environment = clean_environment(DOCKER_HOST=NOWHERE, PYTHONPATH=str(ROOT))
    words = ["unshare", "--mount", "sh", "-c", " && ".join(steps)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60)
    seen = json.loads(done.stdout)
    [found] = [each for each in seen["findings"] if each["check"] == "disk"]
    assert found["what"] == f"the disk is nearly full: {small}"
    assert "MiB of 8 MiB are free" in found["evidence"][0]


# Containers: one small project of somebody else's


ILL = """
services:
  looping:
    image: redis:7
    command: [sh, -c, "echo 'fatal: cannot open the dictionary'; exit 7"]
    restart: always
  sad:
    image: redis:7
    command: [sleep, "1000"]
    init: true
    healthcheck: {test: [CMD-SHELL, "echo I am sad; exit 1"], interval: 1s, retries: 1}
  web:
    image: redis:7
    init: true
    command: [sleep, "1000"]
    ports: ["127.0.0.1:%d:6379"]
  job:
    image: redis:7
    command: ["true"]
"""


@pytest.mark.engine
def test_a_project_that_is_ill_in_several_ways(tmp_path):
    port = free_port()
    with engines.project(tmp_path / "ill", ILL % port) as stack:
        stack.environment["INVOKE_STACK_SERVICE"] = "web"
        stack.compose("stop", "--timeout", "0", "web")
        wait_until("a loop", lambda: stack.service("looping")["restarts"] >= 3, 30)
        wait_until("a failing probe", lambda: stack.service("sad")["health"] == "unhealthy", 30)
        with socket.create_server(("127.0.0.1", port)):
            found = examine(stack)
        name = dockerized.docker("run", "-d", "--rm", "-p", f"127.0.0.1:{port}:1", "redis:7")
        try:
            container = dockerized.docker("inspect", "-f", "{{.Name}}", name.stdout.strip())
            assert container.stdout.strip().lstrip("/") in examine(stack)["ports"]
        finally:
            dockerized.docker("rm", "-f", name.stdout.strip())
        checks = {each["name"] for each in stack.json("doctor")["checks"]}
    assert "looping keeps exiting" in found["restarts"]
    assert "| fatal: cannot open the dictionary |" in found["restarts"]
    assert found["probes"].startswith("sad is unhealthy | health check: I am sad | inv restart sad")
    assert f"port {port} of web is already in use" in found["ports"]
    assert f"(process {os.getpid()})" in found["ports"]
    assert found["running"].startswith("web is not running (exited)")
    assert "job" not in str(found)  # it has done its work
    assert "schema" not in checks


@pytest.mark.engine
def test_a_compose_file_that_compose_refuses(tmp_path):
    dockerized.find_engine()
    (tmp_path / "compose.yaml").write_text("services:\n  web: {imagine: redis:7}\n")
    shutil.copy(ROOT / "tests" / "integration" / "adoption" / "greeter" / "tasks.py", tmp_path)
    environment = dockerized.environment(PYTHONPATH=str(ROOT), INVOKE_STACK_READY="/healthz")
    found = examine(Stack(tmp_path, "compose", environment), "--runtime", "compose")
    assert "imagine" in found["project"]


def test_a_folder_without_anything(tmp_path):
    shutil.copy(Path(ROOT, "tests", "integration", "adoption", "greeter", "tasks.py"), tmp_path)
    environment = clean_environment(
        PYTHONPATH=str(ROOT), INVOKE_STACK_READY="/healthz", DOCKER_HOST=NOWHERE
    )
    assert "engine" in examine(Stack(tmp_path, "compose", environment))
