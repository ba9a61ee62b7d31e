"""Which runtime `auto` chooses where a stack exists that cannot be seen at once."""

import contextlib
import hashlib
import json
import socket
import time
import uuid

import pytest

from harness import dockerized, engines
from harness.composed import ComposeStack
from harness.stacks import LocalStack, Stack, copy_checkout
from invoke_stack.runtimes import record

pytestmark = pytest.mark.engine

PROJECT = """
services:
  quiet:
    image: {image}
    build: ./quiet
    command: [sleep, "1000"]
    init: true
    volumes: ["data:/data"]
volumes: {{data: }}
"""


def checkout(folder):
    """deal-scout's checkout with a small Compose project in the place of its own; its environment.

    Nothing chooses the runtime, and a container's own check decides about its health.
    """
    copy_checkout(folder)
    name = f"{dockerized.RUN}-{uuid.uuid4().hex[:4]}"
    (folder / "quiet").mkdir()
    (folder / "quiet" / "Dockerfile").write_text(f"FROM {name}-base\n", "utf-8")
    (folder / "docker-compose.yml").write_text(PROJECT.format(image=f"{name}-quiet:1"), "utf-8")
    return dockerized.environment(
        COMPOSE_PROJECT_NAME=name,
        INVOKE_STACK_READY="",
        INVOKE_STACK_SERVICE="quiet",
        POSTGRES_PASSWORD="unused",
    )


def without_engine(environment, folder):
    """The environment with a current context whose engine is gone: `docker` is there, and useless."""
    meta = folder / "contexts" / "meta" / hashlib.sha256(b"gone").hexdigest() / "meta.json"
    meta.parent.mkdir(parents=True)
    endpoint = {"Host": f"unix://{folder}/docker.sock", "SkipTLSVerify": False}
    meta.write_text(json.dumps({"Name": "gone", "Metadata": {}, "Endpoints": {"docker": endpoint}}))
    (folder / "config.json").write_text(json.dumps({"currentContext": "gone"}))
    named = ("DOCKER_HOST", "DOCKER_CONTEXT")
    kept = {name: value for name, value in environment.items() if name not in named}
    return kept | {"DOCKER_CONFIG": str(folder)}


@pytest.fixture
def compose(tmp_path):
    """The project on the shared engine: up, with its image and without what that was built from."""
    dockerized.find_engine()
    folder = tmp_path / "checkout"
    stack = ComposeStack(folder, environment=checkout(folder))
    base = f"{stack.project}-base"
    dockerized.docker("tag", "redis:7", base)
    try:
        stack.compose("up", "--detach", "--build")
        stack.compose("exec", "-T", "quiet", "touch", "/data/precious")
        dockerized.docker("rmi", base)
        yield stack
    finally:
        stack.inv("down", "--volumes", "--yes", "--runtime", "local")
        stack.compose("down", "--volumes", "--rmi", "all", "--timeout", "1", ok=False)
        dockerized.docker("rmi", base, ok=False)


def chosen(stack, **env):
    """The notice of a dry run of `up`, which must succeed."""
    done = stack.inv("up", "--dry-run", env=env)
    assert done.returncode == 0, done
    [notice] = [line for line in done.stderr.splitlines() if line.startswith("runtime: ")]
    return notice


def test_f36_auto_takes_the_stopped_stack_whose_base_images_are_gone(compose, measured):
    assert chosen(compose) == "runtime: compose (its stack is up)"
    compose.compose("stop", "--timeout", "1")
    assert chosen(compose) == "runtime: compose (its stack is stopped)"
    compose.compose("down")
    assert chosen(compose) == "runtime: compose (it has the data of this project)"
    assert record.read(compose.root / ".local") == ""  # so far, nothing was started here
    compose.ok("up", "--timeout", "60")
    compose.compose("exec", "-T", "quiet", "test", "-f", "/data/precious")
    assert record.read(compose.root / ".local") == "compose"
    assert chosen(compose) == "runtime: compose (this checkout used it last; its stack is up)"
    compose.ok("down", "--volumes", "--yes")
    assert record.read(compose.root / ".local") == ""
    assert chosen(compose).startswith("runtime: compose (an engine answers")
    compose.compose("down", "--rmi", "all")
    assert "-base cannot be had" in chosen(compose)
    assert not (compose.root / ".local" / "stack.json").exists()
    measured("the Compose stack with its data, stopped or down, without its base image")


def test_f36_auto_refuses_if_the_engine_used_last_is_gone(compose, tmp_path, measured):
    compose.ok("up", "--timeout", "60")
    gone = Stack(compose.root, "", without_engine(compose.environment, tmp_path / "docker"))
    for words in ("up", "up --dry-run", "down", "status", "health", "logs", "restart quiet"):
        done = gone.inv(*words.split())
        assert done.returncode == 4, done
        assert "this checkout used compose last" in done.stderr
        assert "--runtime local" in done.stderr
        assert len(done.stderr.splitlines()) == 2
    assert not (compose.root / ".local" / "stack.json").exists()
    examined = gone.inv("doctor")
    assert examined.returncode == 3
    assert "✗ Docker does not answer: its socket does not exist\n" in examined.stdout
    measured("exit 4 with `--runtime local` as the other choice")


def test_f36_auto_starts_without_an_engine_and_refuses_two_running_stacks(
    compose, tmp_path, measured
):
    nowhere = without_engine(compose.environment, tmp_path / "docker")
    own = {"INVOKE_STACK_READY": "/ready", "INVOKE_STACK_SERVICE": "backend"}
    local = LocalStack(compose.root, environment=nowhere | own)
    done = local.inv("up", timeout=300)
    assert done.returncode == 0, done
    notice = "runtime: local (Docker does not answer: its socket does not exist)"
    assert done.stderr.startswith(f"{notice}\n")
    assert record.read(compose.root / ".local") == "local"
    # The engine is back, with a stack of this project on it.
    for words in ("up", "down", "status", "restart quiet"):
        done = compose.inv(*words.split())
        assert done.returncode == 4, done
        assert "compose and on local" in done.stderr
        assert "inv down --runtime local" in done.stderr
        assert len(done.stderr.splitlines()) == 2
    examined = compose.inv("doctor")
    assert examined.returncode == 3
    assert "✗ stacks of this project are running on compose and on local\n" in examined.stdout
    assert local.is_healthy()
    # It hangs, which does not keep anybody from the stack that is known to be up.
    with hanging(tmp_path / "hanging.sock") as address:
        begin = time.monotonic()
        done = local.inv("health", env={"DOCKER_HOST": address})
        seconds = time.monotonic() - begin
    assert done.returncode == 0, done
    assert "cannot check for another one: Docker does not answer: no answer" in done.stderr
    assert seconds < 10  # one answer is waited for, and not for the usual 30 s
    measured("local with a notice on a fresh checkout; exit 4 naming both while both run")


@contextlib.contextmanager
def hanging(path):
    """The address of an engine that accepts connections and never answers."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(16)
        yield f"unix://{path}"


def test_f36_auto_finds_the_stack_of_a_swarm_and_its_data(tmp_path):
    with engines.engine() as own:
        folder = tmp_path / "checkout"
        stack = Stack(folder, "", checkout(folder) | {"DOCKER_HOST": own.host})
        name = stack.environment["COMPOSE_PROJECT_NAME"]
        label = ("--label", f"com.docker.stack.namespace={name}")
        own.docker("swarm", "init", "--advertise-addr", "127.0.0.1")
        service = ("service", "create", *label, "--detach", "--replicas", "0")
        own.docker(*service, "--name", f"{name}_quiet", "--no-resolve-image", "redis:7")
        done = stack.inv("status")
        assert done.stderr.startswith("runtime: swarm (its stack is up)\n")
        own.docker("service", "rm", f"{name}_quiet")
        own.docker("volume", "create", *label, f"{name}_data")
        done = stack.inv("status")
        assert done.stderr.startswith("runtime: swarm (it has the data of this project)\n")
        own.docker("volume", "rm", f"{name}_data")
        done = stack.inv("status")
        assert done.stderr.startswith("runtime: local (an engine answers, but the image ")
