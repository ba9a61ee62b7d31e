"""Engines publish their ports on this machine only if a fact proves it."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from invoke_stack.runtimes.docker import engine_host
from invoke_stack.runtimes.docker.container_exec import port

NETWORK = "3f1c5d7e9a0b" + 52 * "e"
BRIDGE = "br-3f1c5d7e9a0b"


def publishes_here(**overrides):
    """Decide for an engine on Linux, reached over a unix socket, without any proof by default."""
    engine = {"Name": "here", "OperatingSystem": "Debian GNU/Linux 12", "SecurityOptions": []}
    facts = {
        "platform": "linux",
        "hostname": "here",
        "interfaces": {"lo", "eth0", "docker0", "docker_gwbridge"},
        "is_socket": True,
        "listener": "",
        "in_container": False,
    }
    networks = overrides.pop("networks", [{"Id": NETWORK}])
    engine |= {name: overrides.pop(name) for name in engine.keys() & overrides.keys()}
    return engine_host.publishes_here(engine, networks, **(facts | overrides))


BRIDGES = {"lo", "docker0", BRIDGE}
ROOTLESS = ["name=seccomp,profile=builtin", "name=rootless", "name=cgroupns"]
DESKTOP = {"Name": "docker-desktop", "OperatingSystem": "Docker Desktop"}


@pytest.mark.parametrize(
    "facts",
    [
        {"interfaces": BRIDGES},
        {"interfaces": BRIDGES, "Name": "renamed since"},
        {"interfaces": BRIDGES, "is_socket": False},
        {"listener": "systemd"},
        {"SecurityOptions": ROOTLESS},
        DESKTOP,
        {"Name": "colima"},
        {"Name": "lima-rancher-desktop", "platform": "darwin"},
        {"Name": "orbstack", "OperatingSystem": "OrbStack", "platform": "darwin"},
        {**DESKTOP, "platform": "win32"},
        {"platform": "win32", "OperatingSystem": "Windows Server 2022"},
    ],
)
def test_engine_is_local_if_a_fact_proves_it(facts):
    assert publishes_here(**facts)


@pytest.mark.parametrize(
    "facts",
    [
        {},  # another network namespace of this machine, or a forwarded socket
        {"networks": []},
        {"listener": "ssh"},
        {"is_socket": False},
        {"interfaces": BRIDGES, "is_socket": False, "Name": "its copy"},
        {"listener": "systemd", "Name": "there"},
        {"SecurityOptions": ROOTLESS, "Name": "there"},
        {"SecurityOptions": ROOTLESS, "is_socket": False},
        {**DESKTOP, "is_socket": False},
        {**DESKTOP, "in_container": True},
        {"platform": "darwin", "Name": "server"},
        {"platform": "darwin", "is_socket": False},
        {"Name": "my-colima-server"},
    ],
)
def test_engine_is_remote_without_proof(facts):
    assert not publishes_here(**facts)


@pytest.mark.parametrize(
    ("networks", "address"),
    [
        ({"mine": {"NetworkID": NETWORK, "IPAddress": "172.18.0.2"}}, "172.18.0.2"),
        ({"overlay": {"NetworkID": 64 * "a", "IPAddress": "10.0.1.2"}}, ""),
        ({"mine": {"NetworkID": NETWORK, "IPAddress": ""}}, ""),
        ({"host": {"NetworkID": 64 * "b", "IPAddress": ""}}, ""),
        (None, ""),
    ],
)
def test_container_address_is_used_only_on_a_bridge_of_this_machine(networks, address):
    inspected = {"NetworkSettings": {"Networks": networks}}
    assert engine_host.bridge_address(inspected, BRIDGES) == address


@pytest.mark.skipif(sys.platform != "linux", reason="/proc of Linux")
def test_socket_listener_is_known_only_in_its_network_namespace(tmp_path):
    path = str(tmp_path / "sock")
    name = Path("/proc/self/comm").read_text("utf-8").strip()
    code = f"from invoke_stack.runtimes.docker import engine_host; print([engine_host.listener({path!r})])"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        sock.listen()
        assert engine_host.listener(path) == name
        if os.geteuid() == 0:
            in_namespace = ["unshare", "--net", sys.executable, "-c", code]
            assert subprocess.run(in_namespace, capture_output=True, text=True).stdout == "['']\n"
    assert engine_host.listener(path) == ""
    assert engine_host.listener(str(tmp_path / "missing")) == ""


@pytest.mark.parametrize(
    ("env", "exposed", "published", "expected"),
    [
        (["PORT=9000"], ["80/tcp"], {}, 9000),
        ([], ["8080/tcp", "9090/tcp"], {}, 8080),
        ([], [], {}, 80),
        ([], ["6379/tcp"], {"8000/tcp": [{"HostPort": "1"}], "6379/tcp": None}, 8000),
        (["PORT=9000"], [], {"8000/tcp": [{}], "9000/tcp": [{}]}, 9000),
        (["PORT=3000"], [], {"8000/tcp": [{}]}, 8000),
    ],
)
def test_container_port_prefers_published_over_exposed(env, exposed, published, expected):
    inspected = {
        "Config": {"Env": env, "ExposedPorts": {name: {} for name in exposed}},
        "NetworkSettings": {"Ports": published},
    }
    assert port(inspected) == expected
