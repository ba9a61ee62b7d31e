"""No output of the stack contains its passwords."""

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
        state = json.loads((stack.state / "stack.json").read_text("utf-8"))
        return [state["postgres_password"], state["redis_password"]]
    return re.findall(r"^\w+PASSWORD=(\S+)", (stack.root / ".env").read_text("utf-8"), re.M)


def output_of_commands(stack):
    lines = ("logs", SERVICES, "--tail", "20000")
    for arguments in (
        *(("status",), ("status", "--json"), ("health", "--json"), ("migrations",), ("backup",)),
        *(("doctor",), ("--debug", "doctor", "--json")),
        *(lines, (*lines, "--json"), ("restart-backend", "--json"), ("up",), ("migrate",)),
        *(("logs", "nothing"), ("restart", "nothing"), ("up", "--timeout", "x")),
        *(("--debug", "status"), ("--debug", "restart-backend"), ("--debug", "up")),
        *(("--debug", "logs", "nothing"), ("--debug", "restore", "nowhere"), ("--debug", "backup")),
    ):
        result = stack.inv(*arguments)
        yield " ".join(arguments), result.stdout + result.stderr


def output_of_endpoints(stack):
    prober = Prober(stack)
    paths = ("/health", "/ready", "/live", "/metrics", "/migrations", "/overview", "/openapi.json")
    for path in (*paths, "/deals", "/deals/x", "/nowhere"):
        yield path, prober.text(path)
    for service in ("postgres", "redis"):
        with frozen(stack, service):
            wait_until("/health returns 503", lambda: prober.has_status(503), 5)
            for path in (*paths, "/deals"):
                yield f"{path} without {service}", prober.text(path)
    wait_until("it is healthy again", lambda: prober.has_status(200), 20)


def output_of_processes(stack):
    if stack.runtime == "local":
        for process in psutil.process_iter(["cmdline"]):
            yield f"process {process.pid}", " ".join(process.info["cmdline"] or ())
        for log in [*(stack.state / "logs").iterdir(), *(stack.state / "run").glob("*.log")]:
            yield log.name, log.read_text("utf-8", "replace")
    else:
        for service in SERVICES.split(","):
            identity = stack.containers(service)[0]
            yield service, dockerized.docker("top", identity, "-eo", "pid,args").stdout


def output_of_programs(stack):
    """Yield the output, mostly tracebacks, of programs that cannot connect or log in."""
    unreachable, denied = "DB_PORT=1 REDIS_PORT=1", "POSTGRES_USER=nobody"
    for variables, program in (
        *(
            (unreachable, "alembic upgrade head"),
            (denied, "alembic current"),
            (denied, "alembic check"),
        ),
        *((unreachable, "python -m app.health.schema"), (denied, "python -m app.health.schema")),
        *(
            (unreachable, "celery -A app.worker inspect ping --timeout 1"),
            (unreachable, "celery -A app.worker report"),
        ),
        (unreachable, "python -c 'from app import settings; print(settings.load(), 1 / 0)'"),
        (
            unreachable,
            "python -c 'from app import settings; from app.worker import broker; broker.client(settings.load(), 1).ping()'",
        ),
        (
            unreachable,
            "python -c 'from app import database; database.transaction().__enter__().execute(1)'",
        ),
    ):
        command = stack.exec_command("backend", "sh", "-c", f"{variables} {program}")
        result = subprocess.run(
            command, cwd=stack.root, env=stack.environment, capture_output=True, text=True
        )
        yield f"{variables} {program}", result.stdout + result.stderr


def output_of_the_engine(stack):
    """Yield what Docker shows, except the environment of containers; see docs/security.md."""
    for service in SERVICES.split(","):
        data = stack.inspect(service)
        data["Config"].pop("Env")
        yield f"inspect {service}", json.dumps(data)
        yield f"history {service}", dockerized.docker("history", "--no-trunc", data["Image"]).stdout


def test_f31_no_output_contains_a_secret(stack, secrets, measured):
    assert len(secrets) == 2
    count = 0
    sources = [output_of_commands, output_of_endpoints, output_of_processes, output_of_programs]
    for source in sources if stack.runtime == "local" else [*sources, output_of_the_engine]:
        for name, text in source(stack):
            count += 1
            assert not any(secret in text for secret in secrets), name
    measured(f"none in {count} outputs")


def test_f31_bad_setting_is_reported_without_its_secret(stack):
    invalid = "postgresql://scout:hunter2hunter2@host:port/name"
    for arguments in (("up",), ("status",), ("doctor",), ("--debug", "restart-backend")):
        result = stack.inv(*arguments, env={"DATABASE_URL": invalid})
        assert "hunter2" not in result.stdout + result.stderr
    stack.ok("up")
    wait_until("it is healthy again", stack.is_healthy, 60)
