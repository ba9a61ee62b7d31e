"""The stack's passwords, looked for in everything that it tells anybody."""

import json
import re
import subprocess

import psutil
import pytest

from harness import dockerized
from harness.servers import wait_until
from tests.faults.inject import Prober, frozen

SERVICES = "postgres,redis,backend,worker,beat,frontend"


@pytest.fixture
def secrets(stack):
    if stack.runtime == "local":
        kept = json.loads((stack.state / "stack.json").read_text("utf-8"))
        return [kept["postgres_password"], kept["redis_password"]]
    return re.findall(r"^\w+PASSWORD=(\S+)", (stack.root / ".env").read_text("utf-8"), re.M)


def said_by_verbs(stack):
    lines = ("logs", SERVICES, "--tail", "20000")
    for words in (
        *(("status",), ("status", "--json"), ("health", "--json"), ("migrations",), ("backup",)),
        *(("doctor",), ("--debug", "doctor", "--json")),
        *(lines, (*lines, "--json"), ("restart-backend", "--json"), ("up",), ("migrate",)),
        *(("logs", "nothing"), ("restart", "nothing"), ("up", "--timeout", "x")),
        *(("--debug", "status"), ("--debug", "restart-backend"), ("--debug", "up")),
        *(("--debug", "logs", "nothing"), ("--debug", "restore", "nowhere"), ("--debug", "backup")),
    ):
        result = stack.inv(*words)
        yield " ".join(words), result.stdout + result.stderr


def said_by_endpoints(stack):
    prober = Prober(stack)
    paths = ("/health", "/ready", "/live", "/metrics", "/migrations", "/overview", "/openapi.json")
    for path in (*paths, "/deals", "/deals/x", "/nowhere"):
        yield path, prober.text(path)
    for service in ("postgres", "redis"):
        with frozen(stack, service):
            wait_until("it is noticed", lambda: prober.has_status(503), 5)
            for path in (*paths, "/deals"):
                yield f"{path} without {service}", prober.text(path)
    wait_until("it is healthy again", lambda: prober.has_status(200), 20)


def said_by_processes(stack):
    if stack.runtime == "local":
        for process in psutil.process_iter(["cmdline"]):
            yield f"process {process.pid}", " ".join(process.info["cmdline"] or ())
        for log in [*(stack.state / "logs").iterdir(), *(stack.state / "run").glob("*.log")]:
            yield log.name, log.read_text("utf-8", "replace")
    else:
        for service in SERVICES.split(","):
            identity = stack.containers(service)[0]
            yield service, dockerized.docker("top", identity, "-eo", "pid,args").stdout


def said_by_programs(stack):
    """Python's own tracebacks, of programs that cannot reach what they need, or may not use it."""
    away, refused = "DB_PORT=1 REDIS_PORT=1", "POSTGRES_USER=nobody"
    for trouble, program in (
        *((away, "alembic upgrade head"), (refused, "alembic current"), (refused, "alembic check")),
        *((away, "python -m app.health.schema"), (refused, "python -m app.health.schema")),
        *(
            (away, "celery -A app.worker inspect ping --timeout 1"),
            (away, "celery -A app.worker report"),
        ),
        (away, "python -c 'from app import settings; print(settings.load(), 1 / 0)'"),
        (
            away,
            "python -c 'from app import settings; from app.worker import broker; broker.client(settings.load(), 1).ping()'",
        ),
        (
            away,
            "python -c 'from app import database; database.transaction().__enter__().execute(1)'",
        ),
    ):
        words = stack.exec_command("backend", "sh", "-c", f"{trouble} {program}")
        done = subprocess.run(
            words, cwd=stack.root, env=stack.environment, capture_output=True, text=True
        )
        yield f"{trouble} {program}", done.stdout + done.stderr


def said_by_the_engine(stack):
    """All but the environment, which is for whoever may use Docker; see docs/security.md."""
    for service in SERVICES.split(","):
        data = stack.inspect(service)
        data["Config"].pop("Env")
        yield f"inspect {service}", json.dumps(data)
        yield f"history {service}", dockerized.docker("history", "--no-trunc", data["Image"]).stdout


def test_f31_no_secret_is_told(stack, secrets, measured):
    assert len(secrets) == 2
    places = 0
    told = [said_by_verbs, said_by_endpoints, said_by_processes, said_by_programs]
    for tell in told if stack.runtime == "local" else [*told, said_by_the_engine]:
        for place, text in tell(stack):
            places += 1
            assert not any(secret in text for secret in secrets), place
    measured(f"none in {places} places")


def test_f31_a_secret_in_a_bad_setting_is_not_told(stack):
    bad = "postgresql://scout:hunter2hunter2@host:port/name"
    for words in (("up",), ("status",), ("doctor",), ("--debug", "restart-backend")):
        result = stack.inv(*words, env={"DATABASE_URL": bad})
        assert "hunter2" not in result.stdout + result.stderr
    stack.ok("up")
    wait_until("it is healthy again", stack.is_healthy, 60)
