"""The stack file derived from this project's Compose files, parsed by `docker stack deploy`."""

import json
import subprocess

import pytest

from harness.dockerized import environment, require_engine
from harness.stacks import ROOT
from invoke_stack.runtimes.swarm.stackfile import derive

pytestmark = pytest.mark.engine

SECRETS = {"POSTGRES_PASSWORD": "s3cr3t-one", "REDIS_PASSWORD": "s3cr3t-two"}


@pytest.fixture(scope="module")
def derived():
    require_engine()
    result = subprocess.run(
        [
            *("docker", "compose", "--project-name", "shop", "--file", "docker-compose.yml"),
            *("--file", "deploy/swarm.yml", "config", "--format", "json"),
        ],
        cwd=ROOT,
        env=environment(**SECRETS),
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return derive(json.loads(result.stdout), SECRETS, replicas={}, images={})


def test_parser_accepts_the_stack_file_without_warnings(derived, tmp_path):
    for name, value in derived.secrets.items():
        (tmp_path / name).write_text(value)
    (tmp_path / "stack.json").write_text(json.dumps(derived.content))
    stderr = subprocess.run(
        ["docker", "stack", "deploy", "--compose-file", "stack.json", "shop"],
        cwd=tmp_path,
        # Docker parses the file before it connects to the engine.
        env=environment(DOCKER_HOST=f"unix://{tmp_path}/no.sock"),
        capture_output=True,
        text=True,
    ).stderr
    assert "no.sock" in stderr
    assert "additional" not in stderr.lower()
    assert "ignoring" not in stderr.lower()


def test_stack_file_contains_no_secret_values(derived):
    text = json.dumps(derived.content)
    assert not any(value in text for value in SECRETS.values())
    # Secrets without a value are left out.
    assert set(derived.secrets) == {"postgres-password", "redis-password"}
    assert "DATABASE_URL_FILE" not in derived.content["services"]["backend"]["environment"]


def test_only_the_frontend_is_published(derived):
    published = {n: s["ports"] for n, s in derived.content["services"].items() if "ports" in s}
    assert list(published) == ["frontend"]
    assert [port["mode"] for port in published["frontend"]] == ["host"]


def test_data_services_never_run_twice(derived):
    for name in ("postgres", "redis"):
        deploy = derived.content["services"][name]["deploy"]
        assert deploy["update_config"]["order"] == "stop-first"
        assert deploy["placement"]["constraints"] == ["node.labels.ops.data == true"]


def test_backend_is_replaced_by_swarm_not_by_its_watchdog(derived):
    backend = derived.content["services"]["backend"]
    assert backend["environment"]["HEALTH_RESTART_AFTER"] == "0"
    assert backend["environment"]["LIVE_RESTART_AFTER"] == "0"
    update = backend["deploy"]["update_config"]
    assert (update["order"], update["failure_action"]) == ("start-first", "rollback")
