"""F39, F41, F42: which checkout owns a stack, symbolic links, and orphans, on a real engine."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from harness import dockerized, engines
from harness.servers import wait_until
from harness.stacks import ROOT
from tests.support import nodes

pytestmark = pytest.mark.engine

IDLE = "image: redis:7, command: sleep infinity, init: true, stop_grace_period: 1s"
SERVICES = f"""
services:
  db: {{{IDLE}, volumes: ["data:/data"]}}
volumes: {{data: {{}}}}
"""
COMMANDS = (
    *("status", "health", "logs db", "restart db", "up", "up --dry-run", "down", "down --dry-run"),
    *("down --volumes --yes", "down --volumes --dry-run", "backup"),
)
EXAMPLE = "POSTGRES_PASSWORD=\nREDIS_PASSWORD=\nSECRET_KEY=change-me\n"


@pytest.fixture
def name():
    """Yield a unique folder name; remove what its projects leave on the engine afterwards."""
    dockerized.require_engine()
    name = f"{dockerized.RUN}-{os.urandom(2).hex()}"
    yield name
    for project in (name, f"{name}-2", f"{name}-41"):
        label = f"label=com.docker.compose.project={project}"
        for kind, listing in (
            ("container", ("ps", "--all", "--quiet")),
            ("network", ("network", "ls", "--quiet")),
            ("volume", ("volume", "ls", "--quiet")),
        ):
            ids = dockerized.docker(*listing, "--filter", label).stdout.split()
            force = ("--force",) if kind != "network" else ()
            if ids:
                dockerized.docker(kind, "rm", *force, *ids)


@pytest.fixture
def first(tmp_path, name):
    """Return a checkout that is up, with a file in its volume."""
    stack = engines.checkout(tmp_path / "one" / name, SERVICES)
    stack.ok("up")
    stack.run("db", "touch", "/data/file")
    return stack


def identity(stack, service="db"):
    """Return the container id and start time of a service, which change when it is replaced."""
    inspected = stack.inspect(service)
    return inspected["Id"], inspected["State"]["StartedAt"]


def volumes(name):
    label = f"label=com.docker.compose.project={name}"
    return dockerized.docker("volume", "ls", "--quiet", "--filter", label).stdout.split()


def has_data(stack):
    """Return True if the volume still contains the file of the first checkout."""
    return stack.run("db", "ls", "/data").split() == ["file"]


def refusal(stack, command):
    """Run `inv`, which must refuse with exit code 4; return its message and hint."""
    result = stack.inv(*command.split(), timeout=60)
    assert (result.returncode, result.stdout) == (4, ""), (command, result)
    lines = result.stderr.splitlines()
    assert len(lines) == 2, (command, result)
    return lines


def test_f39_every_command_refuses_the_stack_of_another_checkout(tmp_path, first, name, measured):
    before = identity(first)
    second = engines.checkout(tmp_path / "two" / name, SERVICES, profile="PROFILE")
    for command in COMMANDS:
        message, hint = refusal(second, command)
        assert message == f"the project {name!r} belongs to another checkout: {first.root}", command
        assert hint.endswith(f"in .env: COMPOSE_PROJECT_NAME={name}-2"), command
    doctor = second.inv("doctor")
    assert doctor.returncode == 3
    assert f"✗ the project {name!r} belongs to another checkout: {first.root}" in doctor.stdout
    assert identity(first) == before
    assert has_data(first)
    with second.setting(f"COMPOSE_PROJECT_NAME={name}-2"):
        second.ok("up")
        assert volumes(f"{name}-2") == [f"{name}-2_data"]
        second.ok("down", "--volumes", "--yes")
    assert identity(first) == before
    first.ok("status")
    measured(f"{len(COMMANDS)} commands refused, nothing changed")


def test_f39_auto_refuses_the_stack_of_another_checkout(tmp_path, first, name):
    second = engines.checkout(tmp_path / "two" / name, SERVICES)
    for verb in ("up", "status", "down"):
        result = second.inv(verb, "--runtime", "auto")
        assert result.returncode == 4, result
        assert str(first.root) in result.stderr
    assert second.inv("doctor", "--runtime", "auto").returncode == 3


def test_f39_moved_checkout_adopts_its_stack(tmp_path, first, name):
    before = identity(first)
    (tmp_path / "moved").mkdir()
    moved = tmp_path / "moved" / name
    first.root.rename(moved)
    old, first.root = first.root, moved
    for command in ("status", "up", "down --volumes --yes"):
        message, hint = refusal(first, command)
        assert str(old) in message
        assert "this checkout was moved" in message
    line = hint.rpartition(": ")[2]
    with first.setting(line):
        first.ok("status")
        first.ok("up")
        assert identity(first) == before
        assert has_data(first)
        first.ok("down")
        first.ok("up")
        assert has_data(first)


@pytest.mark.parametrize("source", ["variable", "file"])
def test_f39_explicit_name_is_the_same_stack_in_every_folder(tmp_path, name, source):
    services = SERVICES if source == "variable" else f"name: {name}\n{SERVICES}"
    variables = {"COMPOSE_PROJECT_NAME": name} if source == "variable" else {}
    first = engines.checkout(tmp_path / "one", services, **variables)
    first.ok("up")
    before = identity(first)
    second = engines.checkout(tmp_path / "two", services, **variables)
    second.ok("up")
    assert identity(second) == before
    second.ok("down", "--volumes", "--yes")
    assert volumes(name) == []


def test_f39_down_deletes_only_volumes_of_its_own_checkout(tmp_path, first, name):
    first.ok("down")
    second = engines.checkout(tmp_path / "two" / name, SERVICES)
    for command in ("down --volumes --yes", "down --volumes", "down --volumes --dry-run"):
        message, hint = refusal(second, command)
        assert message.startswith(f"{name}_data may be another checkout's data"), command
        assert hint.endswith(f"COMPOSE_PROJECT_NAME={name}")
    assert volumes(name) == [f"{name}_data"]
    # The checkout that created the volumes may delete them, even if nothing is up.
    confirmation = first.inv("down", "--volumes")
    assert confirmation.returncode == 2
    assert f"Delete {name}_data permanently?" in confirmation.stderr
    assert re.search(
        f"^delete +{name}_data", first.ok("down", "--volumes", "--dry-run"), re.MULTILINE
    )
    first.ok("down", "--volumes", "--yes")
    assert volumes(name) == []


def test_f39_down_deletes_unrecorded_volumes_of_an_explicit_name(tmp_path, name):
    stack = engines.checkout(tmp_path / name, SERVICES)
    stack.compose("up", "--detach")  # not `inv up`, which would record the start
    stack.compose("down")
    _, hint = refusal(stack, "down --volumes --yes")
    with stack.setting(hint.rpartition(": ")[2]):
        stack.ok("down", "--volumes", "--yes")
    assert volumes(name) == []


def test_f39_down_dry_run_lists_anonymous_volumes(tmp_path, name):
    stack = engines.checkout(tmp_path / name, f'services: {{a: {{{IDLE}, volumes: ["/x"]}}}}\n')
    stack.ok("up")
    output = stack.ok("down", "--volumes", "--dry-run")
    assert len(re.findall(r"^delete +[0-9a-f]{12} \(of a\)", output, re.MULTILINE)) >= 1


def test_f39_up_refuses_when_env_file_is_lost_but_data_exists(tmp_path, name):
    services = SERVICES.replace("command:", 'environment: {P: "${POSTGRES_PASSWORD:?}"}, command:')
    stack = engines.checkout(tmp_path / name, services, profile="PROFILE")
    (stack.root / "invoke.yaml").write_text("stack: {service: db}\n", "utf-8")
    (stack.root / ".env.example").write_text(EXAMPLE, "utf-8")
    # Variables that were in .env before the first start stay.
    (stack.root / ".env").write_text("MINE=1", "utf-8")
    assert re.search(r"^write +\.env", stack.ok("up", "--dry-run"), re.MULTILINE)
    stack.ok("up")
    lines = (stack.root / ".env").read_text("utf-8").splitlines()
    assert lines[0] == "MINE=1"
    assert re.fullmatch(r"POSTGRES_PASSWORD=[\w-]{32}", lines[1])
    assert re.fullmatch(r"REDIS_PASSWORD=[\w-]{32}", lines[-1])
    (stack.root / ".env").unlink()
    for command in ("up", "up --dry-run"):
        message, hint = refusal(stack, command)
        assert message == f".env is missing, but the data in {name}_data needs its passwords"
        assert "docs/operations.md" in hint
        assert "--volumes" not in hint
    doctor = stack.inv("doctor")
    assert "✗ .env is missing, but the data" in doctor.stdout
    assert volumes(name) == [f"{name}_data"]


def test_f39_up_of_another_project_needs_no_env_file(tmp_path, first):
    (first.root / ".env.example").write_text(EXAMPLE, "utf-8")
    first.ok("up")  # although it has volumes
    first.ok("down", "--volumes", "--yes")
    first.ok("up")
    assert not (first.root / ".env").exists()


# Symbolic links


@pytest.fixture
def releases(tmp_path, name):
    """Return a symbolic link, named like the project, to the first of two releases."""
    for number in ("41", "42"):
        engines.checkout(tmp_path / "releases" / f"{name}-{number}", SERVICES)
    link = tmp_path / name
    link.symlink_to(tmp_path / "releases" / f"{name}-41")
    return link


def stack_at(link):
    stack = engines.checkout(link, SERVICES)
    stack.environment["PWD"] = str(link)
    return stack


def folder_of(stack):
    return stack.inspect("db")["Config"]["Labels"]["com.docker.compose.project.working_dir"]


def test_f41_link_names_the_project_as_in_docker_compose(releases, name, measured):
    stack = stack_at(releases)
    stack.compose("up", "--detach")
    before = identity(stack)
    stack.ok("status")
    stack.ok("up")
    assert identity(stack) == before
    stack.ok("down", "--volumes", "--yes")
    assert volumes(name) == []
    stack.ok("up")
    assert folder_of(stack) == str(releases)
    assert volumes(name) == [f"{name}_data"]
    assert "db" in stack.compose("ps", "--services").stdout.split()
    measured("one project, one volume")


def test_f41_next_release_behind_the_link_is_the_same_stack(tmp_path, releases, name):
    stack = stack_at(releases)
    stack.ok("up")
    stack.run("db", "touch", "/data/file")
    releases.unlink()
    releases.symlink_to(tmp_path / "releases" / f"{name}-42")
    stack.ok("status")
    stack.ok("up")
    assert has_data(stack)
    assert volumes(name) == [f"{name}_data"]


def test_f41_subfolder_behind_the_link_is_the_same_stack(releases, name):
    stack = stack_at(releases)
    stack.compose("up", "--detach")
    (releases / "src").mkdir()
    stack.root = releases / "src"
    stack.environment["PWD"] = str(stack.root)
    stack.ok("status")


@pytest.mark.skipif(os.name != "posix", reason="the .venv of this test is a shell script")
@pytest.mark.parametrize("location", ["elsewhere", "inside", "subfolder"])
def test_f41_script_behind_the_link_is_the_same_stack(tmp_path, releases, name, location):
    stack = stack_at(releases)
    scripts = releases / "scripts"
    scripts.mkdir()
    shutil.copy(ROOT / "scripts" / "inv.py", scripts)
    create_venv(releases)
    folder, script = {
        "elsewhere": (tmp_path, str(scripts / "inv.py")),
        "inside": (releases, "scripts/inv.py"),
        "subfolder": (scripts, "inv.py"),
    }[location]
    result = subprocess.run(
        [sys.executable, script, "up"],
        cwd=folder,
        env=stack.environment | {"PWD": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result
    assert folder_of(stack) == str(releases)
    assert volumes(name) == [f"{name}_data"]


def create_venv(root):
    """Create a `.venv` that counts as installed and runs the Python of this test run."""
    (root / ".venv" / "bin").mkdir(parents=True)
    python = root / ".venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', "utf-8")
    python.chmod(0o755)
    (root / "requirements.lock").write_text("", "utf-8")
    code = "import inv; inv.stamp(inv.VENV, inv.LOCK).write_text(inv.fingerprint(inv.LOCK))"
    subprocess.run([sys.executable, "-c", code], cwd=root / "scripts", check=True)


# Orphans

OTHER = f"services: {{old: {{{IDLE}}}, done: {{image: redis:7, command: 'true'}}}}\n"


@pytest.fixture
def orphaned(first, name):
    """Return the first checkout with two orphans, one running and one exited."""
    (first.root / "other.yaml").write_text(OTHER, "utf-8")
    first.compose("--file", "other.yaml", "up", "--detach")
    wait_until("the orphan has exited", lambda: states(name).get("done") == "exited")
    return first


def states(name):
    """Return the state of each container of a project, by service."""
    options = ("--filter", f"label=com.docker.compose.project={name}", "--format", "json")
    lines = dockerized.docker("ps", "--all", *options).stdout.splitlines()
    containers = map(json.loads, lines)
    return {
        container["Names"].removeprefix(f"{name}-").removesuffix("-1"): container["State"]
        for container in containers
    }


def test_f42_orphans_are_listed_and_kept(orphaned, name, measured):
    orphans = f"{name}-done-1, {name}-old-1"
    plan = orphaned.ok("up", "--dry-run")
    assert re.search(f"^leave +{name}-old-1 ", plan, re.MULTILINE)
    assert not re.search("^remove", plan, re.MULTILINE)
    result = orphaned.inv("up")
    assert result.returncode == 0, result
    assert f"notice: keeping orphans (in no Compose file): {orphans}\n" in result.stderr
    assert "inv up --remove-orphans" in result.stderr
    assert "Found orphan containers" not in result.stderr
    assert states(name) == {"db": "running", "old": "running", "done": "exited"}
    result = orphaned.inv("down", env={"COMPOSE_REMOVE_ORPHANS": "1"})
    assert result.returncode == 0, result
    assert f"keeping orphans (in no Compose file): {orphans}\n" in result.stderr
    assert states(name) == {"old": "running", "done": "exited"}
    measured("listed by `up`, its dry run and `down`; both stay")


def test_f42_orphans_are_listed_and_removed_with_the_flag(orphaned, name):
    plan = orphaned.ok("up", "--remove-orphans", "--dry-run")
    assert re.search(f"^remove +{name}-old-1 ", plan, re.MULTILINE)
    assert states(name)["old"] == "running"
    result = orphaned.inv("up", "--remove-orphans", env={"COMPOSE_IGNORE_ORPHANS": "1"})
    assert result.returncode == 0, result
    stderr = result.stderr
    assert stderr.index(f"removing orphans (in no Compose file): {name}-done-1") < (
        stderr.index("docker compose up --detach --remove-orphans")
    )
    assert states(name) == {"db": "running"}


def test_f42_service_of_an_inactive_profile_is_no_orphan(tmp_path, name):
    services = SERVICES.replace(
        "volumes: {data", f"  tool: {{{IDLE}, profiles: [x]}}\nvolumes: {{data"
    )
    stack = engines.checkout(tmp_path / name, services)
    stack.compose("--profile", "x", "up", "--detach")
    result = stack.inv("up", "--remove-orphans")
    assert result.returncode == 0, result
    assert "orphans (in no Compose file)" not in result.stderr
    assert states(name) == {"db": "running", "tool": "running"}


# Swarm


@pytest.fixture(scope="module")
def manager():
    """Yield the node of a swarm, with the image that these tests use."""
    with nodes.nodes(1) as (node,):
        node.docker("swarm", "init", "--advertise-addr", node.address)
        archive = node.folder / "image.tar"
        dockerized.docker("save", "--output", str(archive), "redis:7")
        node.docker("load", "--input", str(archive))
        yield node


@contextlib.contextmanager
def swarm_checkout(folder, manager, services=SERVICES):
    stack = engines.checkout(folder, services, DOCKER_HOST=manager.host)
    stack.environment["INVOKE_STACK_RUNTIME"] = "swarm"
    try:
        yield stack
    finally:
        manager.docker("stack", "rm", folder.name)


def running_tasks(manager, name):
    options = ("--filter", "desired-state=running", "--format", "{{.ID}} {{.Name}}", "--no-trunc")
    return sorted(manager.docker("stack", "ps", name, *options).stdout.splitlines())


def test_f39_swarm_stack_of_another_checkout_is_refused(tmp_path, manager):
    with swarm_checkout(tmp_path / "one" / "shop", manager) as first:
        first.ok("up")
        before = running_tasks(manager, "shop")
        assert len(before) == 1
        second = engines.checkout(tmp_path / "two" / "shop", SERVICES, DOCKER_HOST=manager.host)
        second.environment["INVOKE_STACK_RUNTIME"] = "swarm"
        commands = ("status", "up", "up --dry-run", "down", "down --volumes --yes", "restart db")
        for command in commands:
            message, _ = refusal(second, command)
            assert message == f"the project 'shop' belongs to another checkout: {first.root}"
        assert second.inv("doctor").returncode == 3
        # A moved checkout: the folder is not part of a task, so the tasks are not restarted.
        first.root.parent.rename(tmp_path / "moved")
        first.root = tmp_path / "moved" / "shop"
        message, _ = refusal(first, "up")
        # The engine is in another network namespace, so it counts as another machine.
        assert "belongs to another checkout" in message
        with first.setting("COMPOSE_PROJECT_NAME=shop"):
            first.ok("up")
            assert running_tasks(manager, "shop") == before
        first.ok("status")
        first.ok("down")
        message, _ = refusal(second, "down --volumes --yes")
        assert "shop_data may be another checkout's data" in message
        first.ok("down", "--volumes", "--yes")
        assert manager.docker("volume", "ls", "--quiet").stdout == ""


def test_f42_orphans_of_a_swarm_stack_are_kept_without_the_flag(tmp_path, manager):
    with swarm_checkout(tmp_path / "farm", manager, SERVICES) as stack:
        both = SERVICES.replace("volumes: {data", f"  old: {{{IDLE}}}\nvolumes: {{data")
        (stack.root / "compose.yaml").write_text(both, "utf-8")
        stack.ok("up")
        (stack.root / "compose.yaml").write_text(SERVICES, "utf-8")
        assert re.search("^leave +old ", stack.ok("up", "--dry-run"), re.MULTILINE)
        result = stack.inv("up")
        assert result.returncode == 0, result
        assert "keeping orphans (in no Compose file): old\n" in result.stderr
        stack.ok("down")
        assert [task.split()[1] for task in running_tasks(manager, "farm")] == ["farm_old.1"]
        stack.ok("up")
        result = stack.inv("up", "--remove-orphans")
        assert "removing orphans (in no Compose file): old\n" in result.stderr
        assert [task.split()[1] for task in running_tasks(manager, "farm")] == ["farm_db.1"]
        stack.ok("down", "--volumes", "--yes")
        assert manager.docker("network", "ls", "--quiet", "--filter", "name=farm").stdout == ""
