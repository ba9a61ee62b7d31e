"""Stack files for `docker stack deploy`, translated from a Compose project."""

import json

import pytest

from invoke_stack.runtimes.swarm.stackfile import DIGEST, POSITION, derive

VALUES = {"PASSWORD": 's3cr$t "#1', "URL": ""}


def model(**service):
    return {
        "name": "shop",
        "services": {"web": {"image": "web:1", "environment": {}} | service},
        "networks": {"default": {"name": "shop_default", "ipam": {}}},
        "volumes": {"data": {"name": "shop_data"}, "old": {"name": "elsewhere"}},
        "secrets": {
            "ca": {"name": "shop_ca", "file": "/ca.pem"},
            "password": {"name": "shop_password", "environment": "PASSWORD"},
            "url": {"name": "shop_url", "environment": "URL"},
        },
    }


def derived(content=None, *, replicas=(), images=(), values=VALUES, **service):
    content = content or model(**service)
    return derive(content, values, replicas=dict(replicas), images=dict(images))


def web(*args, **options):
    return derived(*args, **options).content["services"]["web"]


@pytest.mark.parametrize(
    ("restart", "policy"),
    [
        ("no", {"condition": "none"}),
        ("always", {"condition": "any"}),
        ("unless-stopped", {"condition": "any"}),
        ("on-failure:3", {"condition": "on-failure", "max_attempts": 3}),
    ],
)
def test_restart_becomes_a_restart_policy(restart, policy):
    service = web(restart=restart)
    assert service["deploy"]["restart_policy"] == policy
    assert "restart" not in service


def test_explicit_restart_policy_wins():
    policy = {"condition": "any", "delay": "2s"}
    assert (
        web(restart="no", deploy={"restart_policy": policy})["deploy"]["restart_policy"] == policy
    )


def test_rejected_keys_are_dropped_and_unsupported_ones_listed():
    stack_file = derived(
        build={"context": "."},
        pull_policy="never",
        depends_on={},
        entrypoint=None,
        security_opt=["no-new-privileges:true"],
        privileged=False,
        devices=["/dev/x"],
    )
    service = stack_file.content["services"]["web"]
    assert not {"build", "pull_policy", "depends_on", "entrypoint", "security_opt"} & set(service)
    assert stack_file.unsupported == ("web: devices", "web: security_opt")


def test_loopback_port_is_not_published():
    local = {"mode": "ingress", "host_ip": "127.0.0.1", "target": 80, "published": "80"}
    everywhere = {"mode": "host", "target": 8080, "published": "3000", "protocol": "tcp"}
    assert "ports" not in web(ports=[local])
    assert web(ports=[local, everywhere])["ports"] == [
        {"mode": "host", "protocol": "tcp", "target": 8080, "published": 3000}
    ]


def test_tmpfs_becomes_a_mount_with_its_size_in_bytes():
    service = web(
        tmpfs=["/tmp:mode=1777,size=64m", "/run"],
        volumes=[
            {"type": "volume", "source": "data", "target": "/data", "volume": {}},
            {"type": "bind", "source": "/x", "target": "/y", "bind": {"create_host_path": True}},
        ],
    )
    assert service["volumes"] == [
        {"type": "volume", "source": "data", "target": "/data"},
        {"type": "bind", "source": "/x", "target": "/y"},
        {"type": "tmpfs", "target": "/tmp", "tmpfs": {"size": 64 << 20}},
        {"type": "tmpfs", "target": "/run"},
    ]


def test_limits_become_resources_as_strings():
    service = web(mem_limit="1073741824", cpus=0.5, deploy={"resources": {"limits": {"cpus": 2.0}}})
    assert service["deploy"]["resources"] == {"limits": {"memory": "1073741824", "cpus": "2.0"}}


def test_health_check_drops_start_interval():
    check = {"test": ["CMD", "true"], "interval": "5s", "start_interval": "1s"}
    assert web(healthcheck=check)["healthcheck"] == {"test": ["CMD", "true"], "interval": "5s"}


def test_secret_values_are_only_in_files():
    stack_file = derived(
        environment={"PASSWORD_FILE": "/run/secrets/password", "URL_FILE": "/run/secrets/url"},
        secrets=[{"source": "password"}, {"source": "url", "target": "/run/secrets/url"}],
    )
    assert stack_file.secrets == {"password": VALUES["PASSWORD"]}
    assert VALUES["PASSWORD"] not in json.dumps(stack_file.content)
    service = stack_file.content["services"]["web"]
    assert service["secrets"] == [{"source": "password"}]
    # A secret without a value is left out, with the variable that names its file.
    assert service["environment"] == {"PASSWORD_FILE": "/run/secrets/password"}
    assert list(stack_file.content["secrets"]) == ["password"]  # `ca` is for the build
    assert stack_file.content["secrets"]["password"]["file"] == "./password"


def test_new_secret_value_changes_the_secret_and_the_service():
    secrets = [{"source": "password"}]
    one, other = derived(secrets=secrets), derived(secrets=secrets, values={"PASSWORD": "new"})
    assert (
        one.content["secrets"]["password"]["name"] != other.content["secrets"]["password"]["name"]
    )
    assert digest(one) != digest(other)


def digest(stack_file):
    return stack_file.content["services"]["web"]["deploy"]["labels"][DIGEST]


def test_new_build_changes_the_digest_but_scaling_does_not():
    before = derived()
    assert digest(before) == digest(derived())
    assert digest(derived(images={"web:1": "sha256:2"})) != digest(before)
    scaled = derived(replicas={"web": 5})
    assert scaled.content["services"]["web"]["deploy"]["replicas"] == 5
    assert digest(scaled) == digest(before)
    everywhere = web(replicas={"web": 5}, deploy={"mode": "global"})
    assert "replicas" not in everywhere["deploy"]


def test_services_have_their_position_in_the_start_order():
    services = {
        "page": {"image": "p", "depends_on": {"api": {}}},
        "api": {"image": "a", "depends_on": {"store": {}}},
        "store": {"image": "s"},
    }
    content = derived(model() | {"services": services}).content
    positions = {
        name: service["deploy"]["labels"][POSITION] for name, service in content["services"].items()
    }
    assert positions == {"store": "0", "api": "1", "page": "2"}


def test_default_names_of_networks_and_volumes_are_dropped():
    content = derived().content
    assert content["networks"] == {"default": {}}
    assert content["volumes"] == {"data": {}, "old": {"name": "elsewhere"}}
    assert content["version"] == "3.8"
