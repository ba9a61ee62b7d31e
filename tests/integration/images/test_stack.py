"""docker-compose.yml without the toolkit: `docker compose up -d` in a fresh checkout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.dockerized import (
    SECRET,
    SERVICES,
    Project,
    compose,
    container,
    docker,
    fill_in,
    get,
    has_status,
    project,
)
from harness.servers import wait_until

pytestmark = pytest.mark.engine

APPLICATION = ("backend", "worker", "beat")


def configuration(stack: Project) -> dict[str, Any]:
    return json.loads(compose(stack, "config", "--format", "json").stdout)


# Up


def test_stack_is_up_and_ready(stack: Project) -> None:
    assert stack.health() == dict.fromkeys(SERVICES, "healthy")
    wait_until("/ready", lambda: has_status(f"{stack.url}/ready", 200), 30)
    assert get(f"{stack.url}/ready").json()["migrations"] == "current"
    wait_until("the page's /api/ready", lambda: has_status(f"{stack.page}/api/ready", 200), 30)
    overview = get(f"{stack.page}/api/overview").json()
    outcomes = [phase["outcome"] for phase in overview["phases"]]
    assert outcomes == ["answered", "applied", "serving"]
    assert all(age < 30 for age in overview["heartbeats"].values())
    images = [stack.container(service).inspect()["Image"] for service in APPLICATION]
    assert len(set(images)) == 1


@pytest.mark.parametrize("service", SERVICES)
def test_container_is_hardened(stack: Project, service: str) -> None:
    running = stack.container(service)
    data = running.inspect()
    host = data["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert not host["Privileged"]
    assert host["Init"]
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert host["LogConfig"] == {
        "Type": "json-file",
        "Config": {"max-size": "10m", "max-file": "3"},
    }
    assert running.execute("id", "--user").stdout.strip() != "0"
    assert all(mount["Type"] == "volume" for mount in data["Mounts"]), "no folder of the host"
    assert "docker.sock" not in json.dumps(data)
    bindings = [port for ports in (host["PortBindings"] or {}).values() for port in ports]
    assert [binding["HostIp"] for binding in bindings] == (
        ["127.0.0.1"] if service in ("backend", "frontend") else []
    )


@pytest.mark.parametrize("service", SERVICES)
def test_processes_have_no_privileges(stack: Project, service: str) -> None:
    """Reads the kernel's view in /proc, not the engine's configuration."""
    running = stack.container(service)
    status = running.execute("sh", "-c", "cat /proc/[0-9]*/status").stdout
    rows = [line.split() for line in status.splitlines()]
    for name, expected in (("NoNewPrivs:", "1"), ("CapEff:", "0" * 16), ("CapBnd:", "0" * 16)):
        assert {row[1] for row in rows if row[0] == name} == {expected}, name
    users = {user for row in rows if row[0] == "Uid:" for user in row[1:]}
    assert len(users) == 1
    assert "0" not in users
    for folder in ("/", "/etc", "/usr/bin", "/app"):
        result = running.execute("sh", "-c", f"mkdir -p {folder} && touch {folder}/x", ok=False)
        assert "Read-only file system" in result.stderr, folder
    assert running.execute(
        "sh", "-c", "ls /run/docker.sock /var/run/docker.sock", ok=False
    ).returncode


@pytest.mark.parametrize("service", SERVICES)
def test_secrets_are_not_in_commands_or_logs(stack: Project, service: str) -> None:
    running = stack.container(service)
    data = running.inspect()
    outputs = [
        *("".join((data["Path"], *data["Args"])), json.dumps(data["State"])),
        *(docker("top", running.id, "-o", "pid,args").stdout, running.logs()),
    ]
    assert not any(SECRET in text or json.dumps(SECRET)[1:-1] in text for text in outputs)


def test_data_services_are_on_an_internal_network(stack: Project) -> None:
    attached = {
        service: set(stack.container(service).inspect()["NetworkSettings"]["Networks"])
        for service in SERVICES
    }
    data, default = f"{stack.name}_data", f"{stack.name}_default"
    assert attached == {
        "postgres": {data},
        "redis": {data},
        **{service: {data, default} for service in APPLICATION},
        "frontend": {default},
    }
    (network,) = json.loads(docker("network", "inspect", data).stdout)
    assert network["Internal"]
    denied = stack.container("redis").execute("env", "REDISCLI_AUTH=", "redis-cli", "ping")
    assert "NOAUTH" in denied.stdout


def test_redis_syncs_every_write_to_disk(stack: Project) -> None:
    redis = stack.container("redis")
    output = redis.execute("redis-cli", "config", "get", "append*").stdout.split()
    settings = dict(zip(output[::2], output[1::2], strict=True))
    assert (settings["appendonly"], settings["appendfsync"]) == ("yes", "always")


@pytest.mark.parametrize("service", APPLICATION)
def test_application_runs_as_any_user(stack: Project, service: str) -> None:
    data = stack.container(service).inspect()
    options = [
        *("--user", "54321:54321", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"),
        *("--network", f"{stack.name}_data"),
        *(argument for value in data["Config"]["Env"] for argument in ("--env", value)),
    ]
    probe = data["Config"]["Healthcheck"]["Test"][1:]
    command = ("sh", "-c", *probe) if len(probe) == 1 else probe
    with container(data["Config"]["Image"], *options, command=(*data["Config"]["Cmd"],)) as other:
        wait_until(
            f"{service} is healthy",
            lambda: other.execute(*command, ok=False).returncode == 0,
            30,
        )


def test_frontend_finds_a_backend_with_a_new_address(stack: Project) -> None:
    def address() -> str:
        networks = stack.container("backend").inspect()["NetworkSettings"]["Networks"]
        return networks[f"{stack.name}_default"]["IPAddress"]

    before = address()
    compose(stack, "rm", "--stop", "--force", "backend")
    assert has_status(f"{stack.page}/healthz", 200)
    assert has_status(f"{stack.page}/api/live", 502)
    image = stack.container("frontend").inspect()["Image"]
    with container(image, "--network", f"{stack.name}_default"):  # takes the freed address
        compose(stack, "up", "--detach", "backend")
        assert address() != before
        wait_until("/api answers", lambda: has_status(f"{stack.page}/api/ready", 200), 30)


def test_data_survives_new_containers(stack: Project) -> None:
    def deals() -> int:
        response = get(f"{stack.page}/api/deals")
        return response.json()["total"] if response and response.status_code == 200 else 0

    assert httpx.post(f"{stack.page}/api/scouts", json={}, trust_env=False).status_code == 202
    wait_until("the worker has stored deals", deals, 30)
    stack.container("redis").execute("redis-cli", "set", "deal-scout:test", "kept")
    before = deals()
    compose(stack, "rm", "--stop", "--force", "postgres", "redis")
    compose(stack, "up", "--detach", "postgres", "redis")
    wait_until("the backend is ready again", lambda: has_status(f"{stack.url}/ready", 200), 30)
    assert deals() == before
    value = stack.container("redis").execute("redis-cli", "get", "deal-scout:test").stdout
    assert value.strip() == "kept"


def test_postgres_is_unhealthy_while_it_initialises(stack: Project) -> None:
    data = stack.container("postgres").inspect()["Config"]
    slow = "until test -e /tmp/go; do sleep 0.1; done"
    script = (
        f"echo '{slow}' >/docker-entrypoint-initdb.d/slow.sh; exec docker-entrypoint.sh postgres"
    )
    options = [argument for value in data["Env"] for argument in ("--env", value)]
    with container(data["Image"], *options, command=("sh", "-c", script)) as postgres:

        def is_ready() -> bool:
            return postgres.execute("pg_isready", "-q", ok=False).returncode == 0

        def is_healthy() -> bool:
            return (
                postgres.execute("sh", "-c", data["Healthcheck"]["Test"][1], ok=False).returncode
                == 0
            )

        wait_until("it answers on its socket", is_ready, 30)
        assert not is_healthy()
        postgres.execute("touch", "/tmp/go")
        wait_until("it is healthy", is_healthy, 30)


# The commands of the source document


def test_alembic_current_is_head(stack: Project) -> None:
    current = compose(stack, "exec", "-T", "backend", "alembic", "current").stdout
    assert current.endswith("(head)\n")


def test_alembic_ini_is_in_the_image(stack: Project) -> None:
    compose(stack, "exec", "-T", "backend", "ls", "-la", "/app/alembic.ini")


def test_log_shows_alembic_attempts(stack: Project) -> None:
    log = compose(stack, "logs", "backend").stdout
    lines = [line for line in log.splitlines() if "alembic" in line.lower()]
    assert any("[entrypoint] Alembic attempt 1/6" in line for line in lines)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, "alembic upgrade head"), ("", ""), ("alembic upgrade +1", "alembic upgrade +1")],
)
def test_alembic_cmd_comes_from_env_file(stack: Project, value: str | None, expected: str) -> None:
    file = stack.root / ".env"
    before = file.read_text("utf-8")
    try:
        if value is not None:
            file.write_text(fill_in(before, ALEMBIC_CMD=value), "utf-8")
        output = compose(stack, "config", "--format", "json", "backend").stdout
    finally:
        file.write_text(before, "utf-8")
    assert json.loads(output)["services"]["backend"]["environment"]["ALEMBIC_CMD"] == expected
    assert value is not None or "ALEMBIC_CMD: alembic upgrade head" in (
        compose(stack, "config", "backend").stdout
    )


# The Compose file


def test_services_are_wired_as_in_the_source(stack: Project) -> None:
    services = configuration(stack)["services"]
    assert set(services) == set(SERVICES)
    conditions = {
        service: {name: needs["condition"] for name, needs in data.get("depends_on", {}).items()}
        for service, data in services.items()
    }
    after = {"postgres": "service_healthy", "backend": "service_started"}
    assert conditions == {
        "postgres": {},
        "redis": {},
        "backend": {"postgres": "service_healthy", "redis": "service_healthy"},
        "worker": after,
        "beat": after,
        "frontend": {"backend": "service_started"},
    }
    probe = services["backend"]["healthcheck"]
    assert (probe["interval"], probe["timeout"], probe["retries"]) == ("10s", "3s", 30)
    assert {
        service: data.get("stop_grace_period", "10s") for service, data in services.items()
    } == {
        **{"postgres": "1m0s", "redis": "30s", "backend": "15s"},
        **{"worker": "1m10s", "beat": "10s", "frontend": "10s"},
    }
    ours = {
        service for service, data in services.items() if data["image"].startswith("deal-scout-")
    }
    assert ours == {*APPLICATION, "frontend"}
    assert all(services[service]["pull_policy"] == "never" for service in ours)
    assert all("container_name" not in data for data in services.values())
    environment = services["backend"]["environment"]
    assert {"DB_HOST", "DB_PORT", "ALEMBIC_CMD", "PORT", "DATABASE_URL"} <= set(environment)


def test_compose_file_has_no_warnings(stack: Project) -> None:
    assert compose(stack, "config", "--quiet").stderr == ""


@pytest.mark.parametrize("name", ["POSTGRES_PASSWORD", "REDIS_PASSWORD"])
def test_missing_secret_is_named_with_a_hint(tmp_path: Path, name: str) -> None:
    with project(tmp_path / "checkout") as fresh:
        file = fresh.root / ".env"
        complete = file.read_text("utf-8")
        file.write_text(fill_in(complete, **{name: ""}), "utf-8")
        result = compose(fresh, "up", "--detach", ok=False)
        file.write_text(complete, "utf-8")
        assert result.returncode != 0
        assert f"{name} is missing a value" in result.stderr
        assert ".env" in result.stderr
