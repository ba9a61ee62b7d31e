"""The verbs on a real stack of each runtime."""

import json
import re
import signal
import socket
import subprocess
import threading
from datetime import datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest

from harness.servers import free_port, wait_until

SERVICES = ["postgres", "redis", "backend", "worker", "beat", "frontend"]
ESCAPE = "\x1b"


def test_health_output_is_plain_text(stack):
    result = stack.inv("health")
    assert result.returncode == 0
    assert "backend is healthy" in result.stdout
    assert "DB ok · Redis ok" in result.stdout
    assert ESCAPE not in result.stdout


def test_health_json(stack):
    health = stack.json("health")
    assert list(health) == [
        *("service", "runtime", "url", "state", "http_status", "latency_ms", "checked_at", "health")
    ]
    assert (health["service"], health["runtime"]) == ("backend", stack.runtime)
    assert (health["state"], health["http_status"]) == ("healthy", 200)
    assert health["health"]["ok"] is True
    assert datetime.fromisoformat(health["checked_at"]).tzinfo


def test_health_url_checks_that_address(stack):
    assert stack.json("health", "--url", stack.url() + "/health")["state"] == "healthy"
    result = stack.inv("health", "--url", f"http://127.0.0.1:{free_port()}")
    assert result.returncode == 4
    assert "unreachable" in result.stdout


def test_health_url_is_unreachable_if_another_server_answers(stack):
    class OtherServer(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(404)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), OtherServer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        health = stack.json("health", "--url", f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    assert health["state"] == "unreachable"


def test_health_times_out(stack):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        health = stack.json("health", "--url", url, "--timeout", "0.3", timeout=20)
    assert health["state"] == "unreachable"


def are_all_healthy(stack):
    return all(service["health"] == "healthy" for service in stack.json("status")["services"])


def test_status_output_is_plain_text(stack):
    wait_until("all services are healthy", lambda: are_all_healthy(stack))
    output = stack.ok("status")
    for name in SERVICES:
        assert re.search(rf"^{name} +healthy ", output, re.MULTILINE), output
    assert "schema: " in output
    assert "current" in output
    assert ESCAPE not in output


def test_status_json(stack):
    wait_until("all services are healthy", lambda: are_all_healthy(stack))
    status = stack.json("status")
    assert list(status) == ["runtime", "services", "migrations", "boot"]
    assert sorted(service["name"] for service in status["services"]) == sorted(SERVICES)
    for service in status["services"]:
        assert list(service) == [
            *("name", "state", "health", "started_at", "restarts", "image", "ports")
        ]
        assert (service["state"], service["health"]) == ("running", "healthy")
    assert status["migrations"]["current"] == status["migrations"]["head"]
    assert status["migrations"]["pending"] == []
    [boot] = status["boot"]
    assert boot["replica"] == "backend"
    outcomes = [(phase["name"], phase["outcome"]) for phase in boot["phases"]]
    assert outcomes == [
        *(("database", "answered"), ("migrations", "applied"), ("application", "serving"))
    ]
    assert all(0 <= phase["seconds"] < 120 for phase in boot["phases"])


def test_watch_json_prints_one_line_per_poll(stack):
    for verb, key in (("status", "services"), ("health", "state")):
        process = stack.start(
            verb,
            "--watch",
            "--json",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout
        documents = [json.loads(process.stdout.readline()) for _ in range(2)]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 130
        assert all(key in document for document in documents)
        assert "Traceback" not in errors


def test_migrations_reports_the_current_revision(stack):
    migrations = stack.json("migrations")
    assert list(migrations) == ["current", "head", "pending"]
    assert migrations["current"] == migrations["head"] == stack.json("status")["migrations"]["head"]
    assert "current" in stack.ok("migrations")


def test_restart_backend_follows_the_new_start_and_gives_a_verdict(stack):
    before = stack.service("backend")["started_at"]
    output = stack.ok("restart-backend")
    markers = [
        "[entrypoint] Waiting for Postgres at",
        "[entrypoint] ✓ DB connectivity check complete.",
        "[entrypoint] Running database migrations...",
        "[entrypoint] Alembic attempt 1/6 (delay: 2s)...",
        "[entrypoint] ✓ Migrations applied successfully.",
        "[entrypoint] Starting Uvicorn application...",
        "✓ backend is healthy after",
        "\n  database ",
        "\n  migrations ",
        "\n  application ",
        "DB ok · Redis ok · queue 0 · schema current",
    ]
    positions = [output.index(marker) for marker in markers]
    assert positions == sorted(positions)
    assert output.count("Waiting for Postgres") == 1
    assert ESCAPE not in output
    assert stack.service("backend")["started_at"] > before


@pytest.mark.slow
def test_restart_backend_json(stack):
    before = stack.service("backend")
    result = stack.inv("restart-backend", "--json")
    verdict = json.loads(result.stdout)
    assert result.returncode == 0
    assert list(verdict) == [
        *("service", "runtime", "verdict", "previous_started_at", "started_at"),
        *("total_seconds", "phases", "health", "reason"),
    ]
    assert verdict["verdict"] == "healthy"
    assert verdict["previous_started_at"] == before["started_at"] < verdict["started_at"]
    assert [phase["name"] for phase in verdict["phases"]] == [
        "database",
        "migrations",
        "application",
    ]
    assert [phase["outcome"] for phase in verdict["phases"]] == ["answered", "applied", "serving"]
    assert sum(phase["seconds"] for phase in verdict["phases"]) <= verdict["total_seconds"] + 0.5
    assert verdict["health"]["migrations"] == "current"
    assert stack.service("backend")["restarts"] == before["restarts"] == 0


@pytest.mark.slow
def test_restart_limits_the_log_lines(stack):
    assert "[entrypoint]" not in stack.ok("restart-backend", "--no-logs")
    output = stack.ok("restart-backend", "--tail", "2")
    assert output.count("[entrypoint]") == 2
    assert "the rest: inv logs" in output


@pytest.mark.slow
def test_restart_reports_a_changed_configuration(stack):
    try:
        with stack.setting("MIGRATE_DELAYS=1 2"):
            result = stack.inv("restart-backend", "--no-logs")
            assert "has changed" in result.stderr
            assert "apply the change with: inv up" in result.stderr
            stack.ok("up")
            assert "has changed" not in stack.inv("restart-backend", "--no-logs").stderr
    finally:
        stack.ok("up")


def test_restart_of_another_service(stack):
    before = stack.service("frontend")["started_at"]
    assert "frontend is healthy" in stack.ok("restart", "frontend")
    assert stack.service("frontend")["started_at"] > before


def test_logs_shows_the_backend_by_default(stack):
    output = stack.ok("logs", "--tail", "500")
    assert "[entrypoint] Starting Uvicorn application..." in output
    assert " | " not in output
    assert ESCAPE not in output


def test_logs_tail_is_exact(stack):
    for count in (0, 1, 7):
        assert len(stack.ok("logs", "--tail", str(count)).splitlines()) == count
        lines = stack.ok("logs", "backend,worker", "--tail", str(count)).splitlines()
        assert len(lines) == count


def test_logs_merges_services_by_time(stack):
    lines = [
        json.loads(line)
        for line in stack.ok("logs", ",".join(SERVICES), "--tail", "3000", "--json").splitlines()
    ]
    assert list(lines[0]) == ["time", "service", "replica", "node", "stream", "text"]
    assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)
    assert {"backend", "postgres", "worker"} <= {line["service"] for line in lines}


def test_logs_grep_and_since(stack):
    output = stack.ok("logs", "--grep", r"^\[entrypoint\] Alembic attempt \d/6", "--timestamps")
    assert output
    for line in output.splitlines():
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \[entrypoint\] Alembic", line)
    assert stack.ok("logs", "--since", "2999-01-01T00:00:00Z") == ""
    assert "[entrypoint]" in stack.ok("logs", "--since", "1h", "--tail", "1000")


def test_logs_follow_continues_across_a_restart_until_ctrl_c(stack):
    grep = ("--tail", "2000", "--grep", "entrypoint")
    before = stack.ok("logs", *grep)
    waiting = before.count("Waiting for Postgres")
    starting = before.count("Starting Uvicorn")
    process = stack.start(
        "logs", "--follow", *grep, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(process.stdout))
    reader.start()

    def count(text: str) -> int:
        return sum(text in line for line in lines)

    wait_until("the lines so far", lambda: len(lines) >= len(before.splitlines()))
    stack.ok("restart-backend", "--no-logs")
    wait_until("the new start", lambda: count("Starting Uvicorn") > starting)
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130
    reader.join()
    assert "Traceback" not in process.stderr.read()
    assert count("Waiting for Postgres") == waiting + 1


REFUSED = [
    ("logs nope", 4, "available: postgres, redis, backend, "),
    ("restart nope", 4, "available: postgres"),
    ("restart", 2, "inv restart worker"),
    ("logs --tail many", 2, "--tail"),
    ("logs --since yesterday", 2, "--since"),
    ("logs --grep (", 2, "--grep"),
    ("health --timeout never", 2, "--timeout"),
    ("health --url nowhere", 2, "--url"),
    ("restart-backend --timeout 0", 2, "--timeout"),
    ("status --runtime moon", 2, "auto, compose, local, swarm"),
    ("status --nonsense", 1, "nonsense"),
    ("down --volumes", 2, "--yes"),
    ("scale backend", 2, "inv scale backend=5"),
    ("scale backend=x", 2, "inv scale backend=5"),
    ("scale postgres=2", 2, "scale"),
    ("scale postgres=2 --dry-run", 2, "scale"),
]


def test_errors_have_at_most_two_lines_and_an_exit_code(stack):
    started_at = stack.service("backend")["started_at"]
    for command, code, text in REFUSED:
        result = stack.inv(*command.split())
        assert result.returncode == code, result
        assert text in result.stderr, result
        assert "Traceback" not in result.stderr
        lines = [line for line in result.stderr.splitlines() if not line.startswith("runtime: ")]
        assert 1 <= len(lines) <= 2, result
        assert result.stdout == "", result
    assert stack.service("backend")["started_at"] == started_at


def test_up_refuses_a_bad_value_in_env_file(stack):
    with stack.setting("MIGRATE_DELAYS=soon"):
        result = stack.inv("up")
        assert result.returncode == 2
        assert "MIGRATE_DELAYS" in result.stderr
        assert ".env" in result.stderr


def test_up_changes_nothing_the_second_time(stack):
    def started_at():
        services = stack.json("status")["services"]
        return {service["name"]: service["started_at"] for service in services}

    before = started_at()
    stack.ok("up")
    assert started_at() == before


def test_worker_runs_the_tasks_of_the_api(stack):
    url = stack.url()
    with httpx.Client(base_url=url, trust_env=False) as client:
        before = client.get("/deals").json()["total"]
        assert client.post("/scouts", json={}).status_code == 202
        wait_until("deals", lambda: client.get("/deals").json()["total"] > 0, 30)
        wait_until("an empty queue", lambda: client.get("/health").json()["queue_depth"] == 0, 30)
        assert client.get("/deals").json()["total"] >= before


def test_frontend_forwards_requests_to_the_backend(stack):
    with httpx.Client(base_url=stack.url("frontend"), trust_env=False) as client:
        assert "deal-scout" in client.get("/").text.lower()
        assert client.get("/api/health").json()["ok"] is True
