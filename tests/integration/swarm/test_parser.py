"""What `docker stack deploy` says of the file that we derive from our own Compose files."""

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
    told = subprocess.run(
        [
            *("docker", "compose", "--project-name", "shop", "--file", "docker-compose.yml"),
            *("--file", "deploy/swarm.yml", "config", "--format", "json"),
        ],
        cwd=ROOT,
        env=environment(**SECRETS),
        capture_output=True,
        text=True,
    )
    assert told.returncode == 0, told.stderr
    return derive(json.loads(told.stdout), SECRETS, replicas={}, images={})


def test_the_parser_accepts_it_without_a_warning(derived, tmp_path):
    for name, value in derived.secrets.items():
        (tmp_path / name).write_text(value)
    (tmp_path / "stack.json").write_text(json.dumps(derived.content))
    said = subprocess.run(
        ["docker", "stack", "deploy", "--compose-file", "stack.json", "shop"],
        cwd=tmp_path,
        # The file is read before the engine is asked for.
        env=environment(DOCKER_HOST=f"unix://{tmp_path}/no.sock"),
        capture_output=True,
        text=True,
    ).stderr
    assert "no.sock" in said
    assert "additional" not in said.lower()
    assert "ignoring" not in said.lower()


def test_nothing_in_it_shows_a_secret(derived):
    text = json.dumps(derived.content)
    assert not any(value in text for value in SECRETS.values())
    # What has no value is no secret.
    assert set(derived.secrets) == {"postgres-password", "redis-password"}
    assert "DATABASE_URL_FILE" not in derived.content["services"]["backend"]["environment"]


def test_only_the_page_is_published(derived):
    published = {n: s["ports"] for n, s in derived.content["services"].items() if "ports" in s}
    assert list(published) == ["frontend"]
    assert [port["mode"] for port in published["frontend"]] == ["host"]


def test_what_holds_data_is_never_run_twice(derived):
    for name in ("postgres", "redis"):
        deploy = derived.content["services"][name]["deploy"]
        assert deploy["update_config"]["order"] == "stop-first"
        assert deploy["placement"]["constraints"] == ["node.labels.ops.data == true"]


def test_the_backend_is_replaced_by_swarm_and_not_by_its_watchdog(derived):
    backend = derived.content["services"]["backend"]
    assert backend["environment"]["HEALTH_RESTART_AFTER"] == "0"
    assert backend["environment"]["LIVE_RESTART_AFTER"] == "0"
    update = backend["deploy"]["update_config"]
    assert (update["order"], update["failure_action"]) == ("start-first", "rollback")
