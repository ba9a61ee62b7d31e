"""`inv doctor` with real faults in checkouts, engines, containers and disks."""

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


def examine(stack, *flags, code=3, **env):
    """Return the findings of `inv doctor` as text, by their check."""
    result = stack.inv("doctor", "--json", *flags, env=env, timeout=60)
    assert result.returncode == code, result
    assert result.stderr == ""
    report = json.loads(result.stdout)
    assert list(report) == ["runtime", "findings", "checks"]
    texts = {}
    for finding in report["findings"]:
        assert finding["remedy"], finding
        text = " | ".join((finding["what"], *finding["evidence"], finding["remedy"]))
        texts.setdefault(finding["check"], []).append(text)
    failed = [check["name"] for check in report["checks"] if check["result"] == "wrong"]
    assert sorted(texts) == sorted(failed)
    return {check: "\n".join(lines) for check, lines in texts.items()}


def snapshot(root):
    """Return the content of every file except bytecode."""
    files = (path for path in root.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {path.relative_to(root): path.read_bytes() for path in files}


@pytest.fixture
def checkout(tmp_path):
    """Create a checkout with no running stack and no engine."""
    environment = clean_environment(DOCKER_HOST=NOWHERE)
    return Stack(copy_checkout(tmp_path / "checkout"), "", environment)


# Checkouts without a running stack


def test_doctor_reports_only_that_a_fresh_checkout_is_not_up(checkout):
    before = snapshot(checkout.root)
    assert examine(checkout, "--runtime", "local") == {
        "running": "the stack is not up | start it with: inv up"
    }
    assert snapshot(checkout.root) == before


def test_doctor_reports_every_problem_of_a_broken_checkout(checkout):
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
    findings = examine(checkout, "--runtime", "compose")
    assert snapshot(root) == before
    for check, expected in {
        "engine": "its socket does not exist | Docker host or context: unix:///nowhere/docker.sock",
        "env": "REDIS_PASSWORD is not set",
        "addresses": "points to db.example:5433 and takes precedence; they say postgres:5433",
        "entrypoint": "(CRLF)",
        "revisions": "have 2 heads: b, 0003_deals_newest",
        "alembic-cmd": "no closing quotation",
    }.items():
        assert expected in findings[check], findings
    for expected in (
        "line 3 is not NAME=value",
        "invalid value '70000' for PORT in .env",
        "did you mean DB_PORT?",
    ):
        assert expected in findings["env"]
    assert "executable bit" in findings["entrypoint"]
    assert "sentinel" not in str(findings)
    # The same as text.
    output = checkout.inv("doctor", "--runtime", "compose").stdout
    assert output.startswith("✗ Docker does not answer: its socket does not exist\n")
    assert "\x1b" not in output
    assert "sentinel" not in output
    # The remedy works.
    commands = "git init -q; git add -A; git commit -qm x; rm backend/entrypoint.sh"
    subprocess.run(["sh", "-c", f"{commands}; git checkout -q -- backend"], cwd=root, check=False)
    assert b"\r\n" not in script.read_bytes()


# Engines


def test_doctor_reports_an_explicit_engine_that_does_not_answer(checkout):
    findings = examine(checkout)
    assert "its socket does not exist" in findings["engine"]
    assert "running" not in findings  # unknown without the engine


def test_doctor_ignores_docker_for_a_stopped_local_stack(checkout):
    (checkout.root / ".local").mkdir()
    (checkout.root / ".local" / "stack.json").write_text("{}")
    assert list(examine(checkout)) == ["running"]


def test_doctor_reports_a_context_that_does_not_exist(checkout, tmp_path):
    more = {"DOCKER_HOST": "", "DOCKER_CONTEXT": "misspelt", "DOCKER_CONFIG": str(tmp_path)}
    findings = examine(checkout, "--runtime", "compose", **more)
    assert findings["context"].startswith(
        "there is no Docker context 'misspelt' | available: default"
    )
    assert "engine" not in findings  # the same cause


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (
            "echo \"docker: 'compose' is not a docker command.\" >&2; exit 1",
            "has no Compose plugin",
        ),
        ("echo v2.4.1", "Docker Compose 2.4.1 is too old"),
    ],
)
def test_doctor_reports_a_compose_plugin_that_is_missing_or_too_old(
    checkout, tmp_path, script, expected
):
    command = tmp_path / "docker"
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)
    path = os.pathsep.join([str(tmp_path), "/usr/bin", "/bin"])
    assert expected in examine(checkout, "--runtime", "compose", PATH=path)["compose"]


class OldEngine(http.server.BaseHTTPRequestHandler):
    """An engine of an old version, whose clock is an hour behind."""

    def do_GET(self):
        now = datetime.now(UTC) - timedelta(hours=1)
        info = {"ServerVersion": "19.03.8", "SystemTime": now.isoformat(), "DockerRootDir": "/none"}
        bodies = {"info": info, "json": [], "networks": [], "version": {"ApiVersion": "1.44"}}
        bodies["volumes"] = {"Volumes": []}
        name = self.path.partition("?")[0].rpartition("/")[2]
        body = json.dumps(bodies.get(name, "OK")).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_doctor_reports_an_old_engine_and_its_clock(checkout):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), OldEngine) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host = f"tcp://127.0.0.1:{server.server_port}"
        findings = examine(checkout, "--runtime", "compose", DOCKER_HOST=host)
        server.shutdown()
    assert "Docker Engine 19.03.8 is too old" in findings["engine"]
    assert "the engine's clock is 3600 s behind" in findings["clock"]
    assert "no containers of the project" in findings["running"]


def test_gather_returns_the_other_facts_when_the_engine_hangs(checkout):
    with socket.socket() as hanging:
        hanging.bind(("127.0.0.1", 0))
        hanging.listen()
        environ = {"DOCKER_HOST": f"tcp://127.0.0.1:{hanging.getsockname()[1]}"}
        loaded = config.load(checkout.root, config.DEFAULTS, environ, "compose", profile=PROFILE)
        waiting_for: list[str] = []
        begin = time.monotonic()
        facts = gather(loaded, [], environ, lambda names, _: waiting_for.extend(names), limit=1.0)
    assert time.monotonic() - begin < 5
    assert facts.timed_out == ["Docker Engine"]
    assert "Docker Engine" in waiting_for
    assert facts.disk.result().free
    assert facts.extra["revisions"].result()  # independent of the engine
    failed = {result.check for result in checks.examine(facts) if result.findings}
    assert "answers" in failed
    assert failed.isdisjoint({"engine", "running"})  # the same cause


# Disks


def test_doctor_reports_a_full_disk(tmp_path):
    if sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("mounting a disk needs root on Linux, and unshare")
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
    command = ["unshare", "--mount", "sh", "-c", " && ".join(steps)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    findings = json.loads(result.stdout)["findings"]
    [finding] = [finding for finding in findings if finding["check"] == "disk"]
    assert finding["what"] == f"the disk is nearly full: {small}"
    assert "MiB of 8 MiB are free" in finding["evidence"][0]


# Containers of a small foreign project


BROKEN_PROJECT = """
services:
  looping:
    image: redis:7
    command: [sh, -c, "echo 'fatal: cannot open the dictionary'; exit 7"]
    restart: always
  failing:
    image: redis:7
    command: [sleep, "1000"]
    init: true
    healthcheck: {test: [CMD-SHELL, "echo no answer; exit 1"], interval: 1s, retries: 1}
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
def test_doctor_reports_every_problem_of_another_project(tmp_path):
    port = free_port()
    with engines.project(tmp_path / "broken", BROKEN_PROJECT % port) as stack:
        stack.environment["INVOKE_STACK_SERVICE"] = "web"
        stack.compose("stop", "--timeout", "0", "web")
        wait_until("a loop", lambda: stack.service("looping")["restarts"] >= 3, 30)
        wait_until("a failing probe", lambda: stack.service("failing")["health"] == "unhealthy", 30)
        with socket.create_server(("127.0.0.1", port)):
            findings = examine(stack)
        name = dockerized.docker("run", "-d", "--rm", "-p", f"127.0.0.1:{port}:1", "redis:7")
        try:
            container = dockerized.docker("inspect", "-f", "{{.Name}}", name.stdout.strip())
            assert container.stdout.strip().lstrip("/") in examine(stack)["ports"]
        finally:
            dockerized.docker("rm", "-f", name.stdout.strip())
        names = {check["name"] for check in stack.json("doctor")["checks"]}
    assert "looping keeps exiting" in findings["restarts"]
    assert "| fatal: cannot open the dictionary |" in findings["restarts"]
    assert findings["probes"].startswith(
        "failing is unhealthy | health check: no answer | inv restart failing"
    )
    assert f"port {port} of web is already in use" in findings["ports"]
    assert f"(process {os.getpid()})" in findings["ports"]
    assert findings["running"].startswith("web is not running (exited)")
    assert "job" not in str(findings)  # it has finished successfully
    assert "schema" not in names


@pytest.mark.engine
def test_doctor_reports_an_invalid_compose_file(tmp_path):
    dockerized.require_engine()
    (tmp_path / "compose.yaml").write_text("services:\n  web: {imagine: redis:7}\n")
    shutil.copy(ROOT / "tests" / "integration" / "adoption" / "greeter" / "tasks.py", tmp_path)
    environment = dockerized.environment(PYTHONPATH=str(ROOT), INVOKE_STACK_READY="/healthz")
    findings = examine(Stack(tmp_path, "compose", environment), "--runtime", "compose")
    assert "imagine" in findings["project"]


def test_doctor_reports_the_engine_in_a_folder_without_a_project(tmp_path):
    shutil.copy(Path(ROOT, "tests", "integration", "adoption", "greeter", "tasks.py"), tmp_path)
    environment = clean_environment(
        PYTHONPATH=str(ROOT), INVOKE_STACK_READY="/healthz", DOCKER_HOST=NOWHERE
    )
    assert "engine" in examine(Stack(tmp_path, "compose", environment))
