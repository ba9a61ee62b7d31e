"""What becomes of a Compose project on its way to `docker stack deploy`."""

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


def derived(given=None, *, replicas=(), images=(), values=VALUES, **service):
    return derive(given or model(**service), values, replicas=dict(replicas), images=dict(images))


def web(*args, **more):
    return derived(*args, **more).content["services"]["web"]


@pytest.mark.parametrize(
    ("restart", "policy"),
    [
        ("no", {"condition": "none"}),
        ("always", {"condition": "any"}),
        ("unless-stopped", {"condition": "any"}),
        ("on-failure:3", {"condition": "on-failure", "max_attempts": 3}),
    ],
)
def test_restart_becomes_a_policy(restart, policy):
    made = web(restart=restart)
    assert made["deploy"]["restart_policy"] == policy
    assert "restart" not in made


def test_a_policy_of_its_own_wins():
    policy = {"condition": "any", "delay": "2s"}
    assert (
        web(restart="no", deploy={"restart_policy": policy})["deploy"]["restart_policy"] == policy
    )


def test_what_the_parser_refuses_is_left_out_and_what_is_lost_is_told():
    made = derived(
        build={"context": "."},
        pull_policy="never",
        depends_on={},
        entrypoint=None,
        security_opt=["no-new-privileges:true"],
        privileged=False,
        devices=["/dev/x"],
    )
    service = made.content["services"]["web"]
    assert not {"build", "pull_policy", "depends_on", "entrypoint", "security_opt"} & set(service)
    assert made.lost == ("web: devices", "web: security_opt")


def test_a_port_of_the_loopback_is_not_opened_to_the_world():
    local = {"mode": "ingress", "host_ip": "127.0.0.1", "target": 80, "published": "80"}
    everywhere = {"mode": "host", "target": 8080, "published": "3000", "protocol": "tcp"}
    assert "ports" not in web(ports=[local])
    assert web(ports=[local, everywhere])["ports"] == [
        {"mode": "host", "protocol": "tcp", "target": 8080, "published": 3000}
    ]


def test_tmpfs_becomes_a_mount_with_its_size_in_bytes():
    made = web(
        tmpfs=["/tmp:mode=1777,size=64m", "/run"],
        volumes=[
            {"type": "volume", "source": "data", "target": "/data", "volume": {}},
            {"type": "bind", "source": "/x", "target": "/y", "bind": {"create_host_path": True}},
        ],
    )
    assert made["volumes"] == [
        {"type": "volume", "source": "data", "target": "/data"},
        {"type": "bind", "source": "/x", "target": "/y"},
        {"type": "tmpfs", "target": "/tmp", "tmpfs": {"size": 64 << 20}},
        {"type": "tmpfs", "target": "/run"},
    ]


def test_limits_become_resources_with_texts_for_numbers():
    made = web(mem_limit="1073741824", cpus=0.5, deploy={"resources": {"limits": {"cpus": 2.0}}})
    assert made["deploy"]["resources"] == {"limits": {"memory": "1073741824", "cpus": "2.0"}}


def test_a_newer_health_check_loses_what_older_engines_refuse():
    check = {"test": ["CMD", "true"], "interval": "5s", "start_interval": "1s"}
    assert web(healthcheck=check)["healthcheck"] == {"test": ["CMD", "true"], "interval": "5s"}


def test_secrets_come_from_files_and_stand_nowhere_else():
    made = derived(
        environment={"PASSWORD_FILE": "/run/secrets/password", "URL_FILE": "/run/secrets/url"},
        secrets=[{"source": "password"}, {"source": "url", "target": "/run/secrets/url"}],
    )
    assert made.secrets == {"password": VALUES["PASSWORD"]}
    assert VALUES["PASSWORD"] not in json.dumps(made.content)
    service = made.content["services"]["web"]
    assert service["secrets"] == [{"source": "password"}]
    # One without a value is no secret at all, and nobody is sent to look for its file.
    assert service["environment"] == {"PASSWORD_FILE": "/run/secrets/password"}
    assert list(made.content["secrets"]) == ["password"]  # `ca` is for the build
    assert made.content["secrets"]["password"]["file"] == "./password"


def test_a_secret_with_a_new_value_is_another_secret_and_a_change_of_the_service():
    secrets = [{"source": "password"}]
    one, other = derived(secrets=secrets), derived(secrets=secrets, values={"PASSWORD": "new"})
    assert (
        one.content["secrets"]["password"]["name"] != other.content["secrets"]["password"]["name"]
    )
    assert digest(one) != digest(other)


def digest(made):
    return made.content["services"]["web"]["deploy"]["labels"][DIGEST]


def test_a_new_build_is_a_change_and_scaling_is_none():
    before = derived()
    assert digest(before) == digest(derived())
    assert digest(derived(images={"web:1": "sha256:2"})) != digest(before)
    scaled = derived(replicas={"web": 5})
    assert scaled.content["services"]["web"]["deploy"]["replicas"] == 5
    assert digest(scaled) == digest(before)
    everywhere = web(replicas={"web": 5}, deploy={"mode": "global"})
    assert "replicas" not in everywhere["deploy"]


def test_services_know_their_place_in_the_order_of_starts():
    services = {
        "page": {"image": "p", "depends_on": {"api": {}}},
        "api": {"image": "a", "depends_on": {"store": {}}},
        "store": {"image": "s"},
    }
    made = derived(model() | {"services": services}).content["services"]
    places = {name: service["deploy"]["labels"][POSITION] for name, service in made.items()}
    assert places == {"store": "0", "api": "1", "page": "2"}


def test_names_that_are_the_stacks_own_are_left_to_it():
    content = derived().content
    assert content["networks"] == {"default": {}}
    assert content["volumes"] == {"data": {}, "old": {"name": "elsewhere"}}
    assert content["version"] == "3.8"
