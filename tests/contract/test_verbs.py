"""What the contract says of the verbs, on a real stack of each runtime."""

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


def test_health_for_people(stack):
    result = stack.inv("health")
    assert result.returncode == 0
    assert "backend is healthy" in result.stdout
    assert "DB ok · Redis ok" in result.stdout
    assert ESCAPE not in result.stdout


def test_health_for_programs(stack):
    seen = stack.json("health")
    assert list(seen) == [
        *("service", "runtime", "url", "state", "http_status", "latency_ms", "checked_at", "health")
    ]
    assert (seen["service"], seen["runtime"], seen["state"]) == (
        "backend",
        stack.runtime,
        "healthy",
    )
    assert seen["http_status"] == 200
    assert seen["health"]["ok"] is True
    assert datetime.fromisoformat(seen["checked_at"]).tzinfo


def test_health_of_an_address(stack):
    assert stack.json("health", "--url", stack.url() + "/health")["state"] == "healthy"
    result = stack.inv("health", "--url", f"http://127.0.0.1:{free_port()}")
    assert result.returncode == 4
    assert "unreachable" in result.stdout


def test_something_else_that_answers_is_not_healthy(stack):
    class Other(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(404)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        seen = stack.json("health", "--url", f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    assert seen["state"] == "unreachable"


def test_health_gives_up_in_time(stack):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        seen = stack.json("health", "--url", url, "--timeout", "0.3", timeout=20)
    assert seen["state"] == "unreachable"


def all_healthy(stack):
    return all(service["health"] == "healthy" for service in stack.json("status")["services"])


def test_status_for_people(stack):
    wait_until("all services are healthy", lambda: all_healthy(stack))
    shown = stack.ok("status")
    for name in SERVICES:
        assert re.search(rf"^{name} +healthy ", shown, re.MULTILINE), shown
    assert "schema: " in shown
    assert "current" in shown
    assert ESCAPE not in shown


def test_status_for_programs(stack):
    wait_until("all services are healthy", lambda: all_healthy(stack))
    seen = stack.json("status")
    assert list(seen) == ["runtime", "services", "migrations", "boot"]
    assert sorted(service["name"] for service in seen["services"]) == sorted(SERVICES)
    for service in seen["services"]:
        assert list(service) == [
            *("name", "state", "health", "started_at", "restarts", "image", "ports")
        ]
        assert (service["state"], service["health"]) == ("running", "healthy")
    assert seen["migrations"]["current"] == seen["migrations"]["head"]
    assert seen["migrations"]["pending"] == []
    [boot] = seen["boot"]
    assert boot["replica"] == "backend"
    told = [(phase["name"], phase["outcome"]) for phase in boot["phases"]]
    assert told == [
        *(("database", "answered"), ("migrations", "applied"), ("application", "serving"))
    ]
    assert all(0 <= phase["seconds"] < 120 for phase in boot["phases"])


def test_watching_for_programs_is_a_line_a_look(stack):
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
        looks = [json.loads(process.stdout.readline()) for _ in range(2)]
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=30)
        assert process.returncode == 130
        assert all(key in look for look in looks)
        assert "Traceback" not in told


def test_migrations(stack):
    seen = stack.json("migrations")
    assert list(seen) == ["current", "head", "pending"]
    assert seen["current"] == seen["head"] == stack.json("status")["migrations"]["head"]
    assert "current" in stack.ok("migrations")


def test_restart_backend_follows_the_new_start_and_gives_a_verdict(stack):
    before = stack.service("backend")["started_at"]
    shown = stack.ok("restart-backend")
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
    positions = [shown.index(marker) for marker in markers]
    assert positions == sorted(positions)
    assert shown.count("Waiting for Postgres") == 1
    assert ESCAPE not in shown
    assert stack.service("backend")["started_at"] > before


@pytest.mark.slow
def test_restart_backend_for_programs(stack):
    before = stack.service("backend")
    result = stack.inv("restart-backend", "--json")
    seen = json.loads(result.stdout)
    assert result.returncode == 0
    assert list(seen) == [
        *("service", "runtime", "verdict", "previous_started_at", "started_at"),
        *("total_seconds", "phases", "health", "reason"),
    ]
    assert seen["verdict"] == "healthy"
    assert seen["previous_started_at"] == before["started_at"] < seen["started_at"]
    assert [phase["name"] for phase in seen["phases"]] == ["database", "migrations", "application"]
    assert [phase["outcome"] for phase in seen["phases"]] == ["answered", "applied", "serving"]
    assert sum(phase["seconds"] for phase in seen["phases"]) <= seen["total_seconds"] + 0.5
    assert seen["health"]["migrations"] == "current"
    assert stack.service("backend")["restarts"] == before["restarts"] == 0


@pytest.mark.slow
def test_restart_without_lines_and_with_few(stack):
    assert "[entrypoint]" not in stack.ok("restart-backend", "--no-logs")
    shown = stack.ok("restart-backend", "--tail", "2")
    assert shown.count("[entrypoint]") == 2
    assert "the rest: inv logs" in shown


@pytest.mark.slow
def test_restart_says_when_the_configuration_has_changed(stack):
    try:
        with stack.setting("MIGRATE_DELAYS=1 2"):
            result = stack.inv("restart-backend", "--no-logs")
            assert "has changed since it was created" in result.stderr
            assert "inv up does" in result.stderr
            stack.ok("up")
            assert "has changed" not in stack.inv("restart-backend", "--no-logs").stderr
    finally:
        stack.ok("up")


def test_restart_of_another_service(stack):
    before = stack.service("frontend")["started_at"]
    assert "frontend is healthy" in stack.ok("restart", "frontend")
    assert stack.service("frontend")["started_at"] > before


def test_logs_of_the_backend_by_default(stack):
    shown = stack.ok("logs", "--tail", "500")
    assert "[entrypoint] Starting Uvicorn application..." in shown
    assert " | " not in shown
    assert ESCAPE not in shown


def test_logs_count_lines_exactly(stack):
    for count in (0, 1, 7):
        assert len(stack.ok("logs", "--tail", str(count)).splitlines()) == count
        several = stack.ok("logs", "backend,worker", "--tail", str(count)).splitlines()
        assert len(several) == count


def test_logs_of_several_services_are_merged_by_time(stack):
    lines = [
        json.loads(line)
        for line in stack.ok("logs", ",".join(SERVICES), "--tail", "3000", "--json").splitlines()
    ]
    assert list(lines[0]) == ["time", "service", "replica", "node", "stream", "text"]
    assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)
    assert {"backend", "postgres", "worker"} <= {line["service"] for line in lines}


def test_logs_that_match_and_logs_since(stack):
    shown = stack.ok("logs", "--grep", r"^\[entrypoint\] Alembic attempt \d/6", "--timestamps")
    assert shown
    for line in shown.splitlines():
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \[entrypoint\] Alembic", line)
    assert stack.ok("logs", "--since", "2999-01-01T00:00:00Z") == ""
    assert "[entrypoint]" in stack.ok("logs", "--since", "1h", "--tail", "1000")


def test_logs_follow_across_a_restart_and_end_with_ctrl_c(stack):
    grep = ("--tail", "2000", "--grep", "entrypoint")
    before = stack.ok("logs", *grep)
    starts, served = (before.count(text) for text in ("Waiting for Postgres", "Starting Uvicorn"))
    process = stack.start(
        "logs", "--follow", *grep, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    seen: list[str] = []
    reader = threading.Thread(target=lambda: seen.extend(process.stdout))
    reader.start()

    def shown(text: str) -> int:
        return sum(text in line for line in seen)

    wait_until("the starts so far", lambda: len(seen) >= len(before.splitlines()))
    stack.ok("restart-backend", "--no-logs")
    wait_until("the new start", lambda: shown("Starting Uvicorn") > served)
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130
    reader.join()
    assert "Traceback" not in process.stderr.read()
    assert shown("Waiting for Postgres") == starts + 1


def test_a_reader_that_has_enough_is_no_error(stack):
    words = " ".join(stack.command("logs", "--tail", "500"))
    result = subprocess.run(
        f"{words} | head -n 1",
        shell=True,
        cwd=stack.root,
        env=stack.environment,
        capture_output=True,
        text=True,
    )
    assert "Traceback" not in result.stderr
    assert "Broken" not in result.stderr


REFUSED = [
    ("logs nope", 4, "there are: postgres, redis, backend, "),
    ("restart nope", 4, "there are: postgres"),
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


def test_errors_are_two_lines_and_have_their_code(stack):
    started = stack.service("backend")["started_at"]
    for words, code, named in REFUSED:
        result = stack.inv(*words.split())
        assert result.returncode == code, result
        assert named in result.stderr, result
        assert "Traceback" not in result.stderr
        said = [line for line in result.stderr.splitlines() if not line.startswith("runtime: ")]
        assert 1 <= len(said) <= 2, result
        assert result.stdout == "", result
    assert stack.service("backend")["started_at"] == started


def test_a_bad_value_in_env_is_refused_before_anything_changes(stack):
    with stack.setting("MIGRATE_DELAYS=soon"):
        result = stack.inv("up")
        assert result.returncode == 2
        assert "MIGRATE_DELAYS" in result.stderr
        assert ".env" in result.stderr


def test_up_twice_changes_nothing(stack):
    before = {s["name"]: s["started_at"] for s in stack.json("status")["services"]}
    stack.ok("up")
    assert {s["name"]: s["started_at"] for s in stack.json("status")["services"]} == before


def test_a_worker_does_what_the_api_accepted(stack):
    url = stack.url()
    with httpx.Client(base_url=url, trust_env=False) as client:
        before = client.get("/deals").json()["total"]
        assert client.post("/scouts", json={}).status_code == 202
        wait_until("deals", lambda: client.get("/deals").json()["total"] > 0, 30)
        wait_until("an empty queue", lambda: client.get("/health").json()["queue_depth"] == 0, 30)
        assert client.get("/deals").json()["total"] >= before


def test_the_page_talks_to_the_backend(stack):
    with httpx.Client(base_url=stack.url("frontend"), trust_env=False) as client:
        assert "deal-scout" in client.get("/").text.lower()
        assert client.get("/api/health").json()["ok"] is True
