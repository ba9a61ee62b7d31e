"""The manifests are valid, hardened and consistent with Compose, the images and the docs."""

from __future__ import annotations

import base64
import re
import subprocess
import sys

import kubernetes_validate
import pytest
import yaml
from kubernetes_validate.utils import all_versions

from harness.servers import clean_environment
from harness.stacks import ROOT
from tests.integration.kubernetes.manifests import (
    FOLDER,
    Manifests,
    build,
    compose,
    entrypoint_default,
    example_variables,
)

# Upstream supports three minor releases.
VERSIONS = list(dict.fromkeys(all_versions()))[-3:]
OVERLAYS = ("production", "trial")
OURS = ("backend", "worker", "beat", "frontend")
APPLICATION = ("backend", "worker", "beat")


@pytest.fixture(params=OVERLAYS)
def manifests(request: pytest.FixtureRequest) -> Manifests:
    return build(request.param)


@pytest.fixture
def trial() -> Manifests:
    """Return the overlay that includes the servers."""
    return build("trial")


def template(manifests: Manifests, name: str) -> dict:  # type: ignore[type-arg]
    """Return the pod template of a workload."""
    (workload,) = (item for item in manifests.workloads() if item["metadata"]["name"] == name)
    return workload["spec"]["template"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("overlay", [("production", "autoscaling"), ("trial",)], ids="+".join)
def test_manifests_are_valid(version: str, overlay: tuple[str, ...]) -> None:
    for item in build(*overlay).objects:
        kubernetes_validate.validate(item, version, strict=True)


def test_validation_rejects_an_unknown_field(trial: Manifests) -> None:
    backend = trial.get("Deployment", "backend")
    invalid = backend | {"spec": backend["spec"] | {"replica": 3}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(invalid, VERSIONS[-1], strict=True)


def test_containers_are_hardened(manifests: Manifests) -> None:
    assert len(list(manifests.containers())) >= len(OURS)
    for pod, container in manifests.containers():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        # Otherwise the Service `redis` would set REDIS_PORT to tcp://10.0.0.1:6379.
        assert pod["enableServiceLinks"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(pod)
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"mountPath": "/tmp", "name": "tmp"} in container["volumeMounts"]
        assert set(container["resources"]) == {"requests", "limits"}
    (namespace,) = manifests.of("Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_users_match_the_images(trial: Manifests) -> None:
    dockerfile = (ROOT / "backend" / "Dockerfile").read_text("utf-8")
    (backend,) = re.findall(r"^USER (\d+):\1$", dockerfile, re.MULTILINE)
    users = {"postgres": compose()["postgres"]["user"], "redis": compose()["redis"]["user"]}
    users |= dict.fromkeys(APPLICATION, f"{backend}:{backend}") | {"frontend": "101:101"}
    for name, user in users.items():
        context = template(trial, name)["spec"]["securityContext"]
        assert f"{context['runAsUser']}:{context['runAsGroup']}" == user


def test_repository_contains_no_secret() -> None:
    result = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", "deploy"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if result.returncode:
        pytest.skip("no git checkout")
    committed = result.stdout.split()
    assert any(name.endswith("secret.env.example") for name in committed)
    for name in committed:
        text = (ROOT / name).read_text("utf-8")
        assert not name.endswith("secret.env")
        assert "kind: Secret" not in text
        assert not re.search(r"(?:PASSWORD|_URL)=\S", text), name
        assert not re.search(r"(?m)^(?!\s*#).*://[^\s/]+:[^\s/]+@", text), name
    for overlay in OVERLAYS:
        secret = FOLDER / "overlays" / overlay / "secret.env"
        assert subprocess.run(["git", "check-ignore", "-q", secret], cwd=ROOT).returncode == 0


def test_secrets_are_passed_to_the_pods_only(manifests: Manifests) -> None:
    secret = manifests.get("Secret", "deal-scout")
    values = [base64.b64decode(value).decode() for value in secret["data"].values()]
    assert all(values)
    others = [item for item in manifests.objects if item is not secret]
    assert not any(value in str(item) for value in values for item in others)
    config = manifests.get("ConfigMap", "deal-scout")["metadata"]["name"]
    for name in APPLICATION:
        assert manifests.container(name)["envFrom"] == [
            {"configMapRef": {"name": config}},
            {"secretRef": {"name": secret["metadata"]["name"]}},
        ]


# Probes and timeouts


def test_backend_start_fits_into_the_progress_deadline(manifests: Manifests) -> None:
    deployment = manifests.get("Deployment", "backend")
    delays = sum(map(float, entrypoint_default("MIGRATE_DELAYS").split()))
    start = float(entrypoint_default("DB_WAIT_TIMEOUT")) + delays
    migration = float(entrypoint_default("MIGRATE_TIMEOUT"))
    assert deployment["spec"]["progressDeadlineSeconds"] > start + migration
    assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0

    probes = manifests.container("backend")
    assert probes["startupProbe"]["httpGet"] == {"path": "/live", "port": "http"}
    assert probes["livenessProbe"]["httpGet"] == {"path": "/live", "port": "http"}
    assert probes["readinessProbe"]["httpGet"]["path"].partition("?")[0] == "/ready"


def test_liveness_probe_has_the_limits_of_the_watchdog(manifests: Manifests) -> None:
    config = manifests.get("ConfigMap", "deal-scout")["data"]
    assert (config["HEALTH_RESTART_AFTER"], config["LIVE_RESTART_AFTER"]) == ("0", "0")
    for name, limit in (("backend", "LIVE_RESTART_AFTER"), ("worker", "HEALTH_RESTART_AFTER")):
        probe = manifests.container(name)["livenessProbe"]
        assert probe["periodSeconds"] * probe["failureThreshold"] == float(
            entrypoint_default(limit)
        )


def test_probe_timeout_is_longer_than_the_response(manifests: Manifests) -> None:
    for name in ("backend", "frontend"):
        container = manifests.container(name)
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert container[probe]["timeoutSeconds"] > 2  # /ready responds within 2 s
    for name in ("worker", "beat"):
        container = manifests.container(name)
        assert container["livenessProbe"]["timeoutSeconds"] >= 5
        assert (
            container["livenessProbe"]["exec"]["command"]
            == compose()[name]["healthcheck"]["test"][1:]
        )


def test_grace_period_is_longer_than_the_drain(manifests: Manifests) -> None:
    text = (ROOT / "backend" / "entrypoint.sh").read_text("utf-8")
    (uvicorn,) = re.findall(r"--timeout-graceful-shutdown (\d+)", text)
    nginx = (ROOT / "frontend" / "nginx.conf.template").read_text("utf-8")
    (proxy,) = re.findall(r"proxy_read_timeout (\d+)s", nginx)
    worker = (ROOT / "backend" / "app" / "worker" / "celery.py").read_text("utf-8")
    (task,) = re.findall(r"task_time_limit=(\d+)", worker)
    for name, drain in (("backend", uvicorn), ("frontend", proxy), ("worker", task), ("beat", "5")):
        pod = template(manifests, name)["spec"]
        hook = pod["containers"][0].get("lifecycle", {}).get("preStop")
        delay = int(hook["exec"]["command"][1]) if hook else 0
        assert pod["terminationGracePeriodSeconds"] >= delay + int(drain) + 5
    for name in ("backend", "frontend"):  # they receive requests until the endpoints are updated
        assert "preStop" in manifests.container(name)["lifecycle"]


# Names, ports and values


def test_images_and_commands_match_compose(trial: Manifests) -> None:
    for name, service in compose().items():
        container = trial.container(name)
        assert container["image"] == re.sub(r":\$\{.*", "", service["image"])
        if name in ("worker", "beat"):
            assert container["command"] == service["command"]
        if name in ("backend", "frontend"):
            assert "command" not in container


def test_redis_configuration_matches_compose(trial: Manifests) -> None:
    *lines, password, _ = trial.container("redis")["command"][2].splitlines()
    *compose_lines, _, _ = compose()["redis"]["command"][2].splitlines()
    assert lines == compose_lines
    assert password.startswith("requirepass")
    assert "$$REDISCLI_AUTH" in password  # $$ is an escaped $


def test_variables_match_the_example(trial: Manifests) -> None:
    config = trial.get("ConfigMap", "deal-scout")["data"]
    example = example_variables()
    watchdog = {"HEALTH_RESTART_AFTER", "LIVE_RESTART_AFTER"}
    assert {name: example[name] for name in config if name not in watchdog} == {
        name: value for name, value in config.items() if name not in watchdog
    }
    for overlay in OVERLAYS:
        names = build(overlay).get("Secret", "deal-scout")["data"]
        assert set(names) <= set(example) & set(compose()["backend"]["environment"])
        assert not set(names) & set(config)  # the secret would override it
    assert {entry["name"] for entry in trial.container("frontend")["env"]} == {
        "NAMESPACE",
        *compose()["frontend"]["environment"],
    }


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_backend_accepts_its_environment(overlay: str) -> None:
    manifests = build(overlay)
    secret = manifests.get("Secret", "deal-scout")["data"]
    environment = manifests.get("ConfigMap", "deal-scout")["data"] | {
        name: base64.b64decode(value).decode() for name, value in secret.items()
    }
    code = "from app.settings import load; s = load(); print(s.db_host, s.redis_host, s.port)"
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=clean_environment(PYTHONPATH=str(ROOT / "backend"), **environment),
        capture_output=True,
        text=True,
    )
    hosts = {"production": "db.example.com redis.example.com", "trial": "postgres redis"}
    assert result.stdout.strip() == f"{hosts[overlay]} 8000", result.stderr


def test_ports_of_containers_services_and_policies_agree(trial: Manifests) -> None:
    port = trial.get("ConfigMap", "deal-scout")["data"]["PORT"]
    backend = trial.get("Service", "backend")["spec"]["ports"][0]
    assert (
        port == str(backend["port"]) == str(trial.container("backend")["ports"][0]["containerPort"])
    )
    assert trial.container("frontend")["ports"][0]["containerPort"] == 8080
    (address,) = (
        entry["value"]
        for entry in trial.container("frontend")["env"]
        if entry["name"] == "BACKEND_URL"
    )
    assert address == f"http://backend.$(NAMESPACE).svc.cluster.local:{port}"
    for service in trial.of("Service"):
        selected = template(trial, service["metadata"]["name"])
        assert service["spec"]["selector"].items() <= selected["metadata"]["labels"].items()
        (service_port,) = service["spec"]["ports"]
        names = {item["name"] for item in selected["spec"]["containers"][0]["ports"]}
        assert service_port["targetPort"] in names
        # The network policy allows requests to that port.
        policy = trial.get("NetworkPolicy", service["metadata"]["name"])["spec"]
        assert policy["podSelector"]["matchLabels"] == service["spec"]["selector"]
        assert policy["ingress"][0]["ports"] == [{"port": service_port["targetPort"]}]


def test_selectors_match_the_pods_of_their_workload(trial: Manifests) -> None:
    for workload in trial.workloads():
        labels = workload["spec"]["template"]["metadata"]["labels"]
        assert workload["spec"]["selector"]["matchLabels"].items() <= labels.items()
        for spread in workload["spec"]["template"]["spec"].get("topologySpreadConstraints", []):
            assert spread["labelSelector"]["matchLabels"].items() <= labels.items()
    for budget in trial.of("PodDisruptionBudget"):
        labels = template(trial, budget["metadata"]["name"])["metadata"]["labels"]
        assert budget["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_beat_has_one_replica(manifests: Manifests) -> None:
    beat = manifests.get("Deployment", "beat")["spec"]
    assert (beat["replicas"], beat["strategy"]) == (1, {"type": "Recreate"})


# Autoscaling


def test_only_the_autoscaler_sets_the_number_of_workers() -> None:
    manifests = build("production", "autoscaling")
    assert "replicas" not in manifests.get("Deployment", "worker")["spec"]
    scaler = manifests.get("HorizontalPodAutoscaler", "worker")["spec"]
    assert scaler["scaleTargetRef"]["name"] == "worker"
    metric = scaler["metrics"][0]["external"]["metric"]["name"]
    assert f'"{metric}"' in (ROOT / "backend" / "app" / "health" / "metrics.py").read_text("utf-8")


# docs/scaling.md


def yaml_block(key: str) -> dict:  # type: ignore[type-arg]
    """Return the only YAML block of docs/scaling.md that begins with this key."""
    text = (ROOT / "docs" / "scaling.md").read_text("utf-8")
    (block,) = re.findall(rf"```yaml\n({key}:.*?)```", text, re.DOTALL)
    return yaml.safe_load(block)


def test_rule_in_the_docs_provides_the_metric_of_the_autoscaler() -> None:
    rules = yaml_block("externalRules")["externalRules"]
    scaler = build("production", "autoscaling").get("HorizontalPodAutoscaler", "worker")["spec"]
    metric = scaler["metrics"][0]["external"]["metric"]["name"]
    assert [rule["seriesQuery"].partition("{")[0] for rule in rules] == [metric]
    # Every replica exports the same number.
    assert rules[0]["metricsQuery"].startswith("max(")


def test_variable_can_be_added_as_in_the_docs() -> None:
    kustomization = yaml.safe_dump(yaml_block("configMapGenerator"))
    manifests = build("production", kustomization=kustomization)
    config = manifests.get("ConfigMap", "deal-scout")["data"]
    assert config["ALEMBIC_CMD"].endswith("alembic upgrade head")
    assert config["PORT"] == "8000"
