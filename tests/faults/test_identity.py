"""F39, F41, F42: whose containers they are, on a real engine, and what nobody deletes."""

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
VERBS = (
    *("status", "health", "logs db", "restart db", "up", "up --dry-run", "down", "down --dry-run"),
    *("down --volumes --yes", "down --volumes --dry-run", "backup"),
)
EXAMPLE = "POSTGRES_PASSWORD=\nREDIS_PASSWORD=\nSECRET_KEY=change-me\n"


@pytest.fixture
def name():
    """A folder's name, so that the projects of other tests have others; all of it goes away again."""
    dockerized.find_engine()
    made = f"{dockerized.RUN}-{os.urandom(2).hex()}"
    yield made
    for project in (made, f"{made}-2", f"{made}-41"):
        label = f"label=com.docker.compose.project={project}"
        for kind, words in (
            ("container", ("ps", "--all", "--quiet")),
            ("network", ("network", "ls", "--quiet")),
            ("volume", ("volume", "ls", "--quiet")),
        ):
            listed = dockerized.docker(*words, "--filter", label).stdout.split()
            force = ("--force",) if kind != "network" else ()
            if listed:
                dockerized.docker(kind, "rm", *force, *listed)


@pytest.fixture
def first(tmp_path, name):
    """A checkout that is up, with a file in its volume."""
    stack = engines.checkout(tmp_path / "one" / name, SERVICES)
    stack.ok("up")
    stack.run("db", "touch", "/data/kept")
    return stack


def identity(stack, service="db"):
    """What another start, and another container, would change."""
    inspected = stack.inspect(service)
    return inspected["Id"], inspected["State"]["StartedAt"]


def volumes(name):
    label = f"label=com.docker.compose.project={name}"
    return dockerized.docker("volume", "ls", "--quiet", "--filter", label).stdout.split()


def is_kept(stack):
    return stack.run("db", "ls", "/data").split() == ["kept"]


def refused(stack, words):
    result = stack.inv(*words.split(), timeout=60)
    assert (result.returncode, result.stdout) == (4, ""), (words, result)
    lines = result.stderr.splitlines()
    assert len(lines) == 2, (words, result)
    return lines


def test_f39_every_verb_refuses_another_checkouts_stack(tmp_path, first, name, measured):
    before = identity(first)
    second = engines.checkout(tmp_path / "two" / name, SERVICES, profile="PROFILE")
    for words in VERBS:
        message, hint = refused(second, words)
        assert message == f"the project {name!r} belongs to another checkout: {first.root}", words
        assert hint.endswith(f"in .env: COMPOSE_PROJECT_NAME={name}-2"), words
    examined = second.inv("doctor")
    assert examined.returncode == 3
    assert f"✗ the project {name!r} belongs to another checkout: {first.root}" in examined.stdout
    assert identity(first) == before
    assert is_kept(first)
    with second.setting(f"COMPOSE_PROJECT_NAME={name}-2"):
        second.ok("up")
        assert volumes(f"{name}-2") == [f"{name}-2_data"]
        second.ok("down", "--volumes", "--yes")
    assert identity(first) == before
    first.ok("status")
    measured(f"{len(VERBS)} commands refused, nothing changed")


def test_f39_auto_refuses_another_checkouts_stack(tmp_path, first, name):
    second = engines.checkout(tmp_path / "two" / name, SERVICES)
    for words in ("up", "status", "down"):
        result = second.inv(words, "--runtime", "auto")
        assert result.returncode == 4, result
        assert str(first.root) in result.stderr
    assert second.inv("doctor", "--runtime", "auto").returncode == 3


def test_f39_a_moved_checkout_adopts_its_stack(tmp_path, first, name):
    before = identity(first)
    (tmp_path / "moved").mkdir()
    moved = tmp_path / "moved" / name
    first.root.rename(moved)
    old, first.root = first.root, moved
    for words in ("status", "up", "down --volumes --yes"):
        message, hint = refused(first, words)
        assert str(old) in message
        assert "this checkout was moved" in message
    line = hint.rpartition(": ")[2]
    with first.setting(line):
        first.ok("status")
        first.ok("up")
        assert identity(first) == before
        assert is_kept(first)
        first.ok("down")
        first.ok("up")
        assert is_kept(first)


@pytest.mark.parametrize("way", ["variable", "file"])
def test_f39_an_explicit_name_is_the_same_stack_in_every_folder(tmp_path, name, way):
    services = SERVICES if way == "variable" else f"name: {name}\n{SERVICES}"
    variables = {"COMPOSE_PROJECT_NAME": name} if way == "variable" else {}
    first = engines.checkout(tmp_path / "one", services, **variables)
    first.ok("up")
    before = identity(first)
    second = engines.checkout(tmp_path / "two", services, **variables)
    second.ok("up")
    assert identity(second) == before
    second.ok("down", "--volumes", "--yes")
    assert volumes(name) == []


def test_f39_down_lists_what_it_deletes_and_spares_what_may_be_anothers(tmp_path, first, name):
    first.ok("down")
    second = engines.checkout(tmp_path / "two" / name, SERVICES)
    for words in ("down --volumes --yes", "down --volumes", "down --volumes --dry-run"):
        message, hint = refused(second, words)
        assert message.startswith(f"{name}_data may be another checkout's data"), words
        assert hint.endswith(f"COMPOSE_PROJECT_NAME={name}")
    assert volumes(name) == [f"{name}_data"]
    # The checkout that has made them deletes them, also when nothing is up.
    asked = first.inv("down", "--volumes")
    assert asked.returncode == 2
    assert f"Delete {name}_data for good?" in asked.stderr
    assert re.search(
        f"^delete +{name}_data", first.ok("down", "--volumes", "--dry-run"), re.MULTILINE
    )
    first.ok("down", "--volumes", "--yes")
    assert volumes(name) == []


def test_f39_data_of_before_is_deleted_once_it_has_a_name(tmp_path, name):
    stack = engines.checkout(tmp_path / name, SERVICES)
    stack.compose("up", "--detach")  # by hand, so that no start is noted
    stack.compose("down")
    _, hint = refused(stack, "down --volumes --yes")
    with stack.setting(hint.rpartition(": ")[2]):
        stack.ok("down", "--volumes", "--yes")
    assert volumes(name) == []


def test_f39_anonymous_volumes_are_listed(tmp_path, name):
    stack = engines.checkout(tmp_path / name, f'services: {{a: {{{IDLE}, volumes: ["/x"]}}}}\n')
    stack.ok("up")
    shown = stack.ok("down", "--volumes", "--dry-run")
    assert len(re.findall(r"^delete +[0-9a-f]{12} \(of a\)", shown, re.MULTILINE)) >= 1


def test_f39_a_lost_env_file_is_refused_with_a_way_that_deletes_nothing(tmp_path, name):
    services = SERVICES.replace("command:", 'environment: {P: "${POSTGRES_PASSWORD:?}"}, command:')
    stack = engines.checkout(tmp_path / name, services, profile="PROFILE")
    (stack.root / "invoke.yaml").write_text("stack: {service: db}\n", "utf-8")
    (stack.root / ".env.example").write_text(EXAMPLE, "utf-8")
    # A name of its own, written before the first start, is kept.
    (stack.root / ".env").write_text("MINE=1", "utf-8")
    assert "write +.env" not in stack.ok("up", "--dry-run")
    stack.ok("up")
    lines = (stack.root / ".env").read_text("utf-8").splitlines()
    assert lines[0] == "MINE=1"
    assert re.fullmatch(r"POSTGRES_PASSWORD=[\w-]{32}", lines[1])
    assert re.fullmatch(r"REDIS_PASSWORD=[\w-]{32}", lines[-1])
    (stack.root / ".env").unlink()
    for words in ("up", "up --dry-run"):
        message, hint = refused(stack, words)
        assert message == f".env is missing, but the data in {name}_data needs its passwords"
        assert "docs/operations.md" in hint
        assert "--volumes" not in hint
    examined = stack.inv("doctor")
    assert "✗ .env is missing, but the data" in examined.stdout
    assert volumes(name) == [f"{name}_data"]


def test_f39_another_projects_env_file_is_its_own_business(tmp_path, first):
    (first.root / ".env.example").write_text(EXAMPLE, "utf-8")
    first.ok("up")  # though there are volumes
    first.ok("down", "--volumes", "--yes")
    first.ok("up")
    assert not (first.root / ".env").exists()


# Symbolic links


@pytest.fixture
def releases(tmp_path, name):
    """Two releases, and a link to the first whose name is the project's."""
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


def test_f41_a_link_names_the_project_as_for_docker_compose(releases, name, measured):
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


def test_f41_the_next_release_behind_the_link_is_the_same_stack(tmp_path, releases, name):
    stack = stack_at(releases)
    stack.ok("up")
    stack.run("db", "touch", "/data/kept")
    releases.unlink()
    releases.symlink_to(tmp_path / "releases" / f"{name}-42")
    stack.ok("status")
    stack.ok("up")
    assert is_kept(stack)
    assert volumes(name) == [f"{name}_data"]


def test_f41_a_subfolder_behind_the_link_is_the_same_stack(releases, name):
    stack = stack_at(releases)
    stack.compose("up", "--detach")
    (releases / "src").mkdir()
    stack.root = releases / "src"
    stack.environment["PWD"] = str(stack.root)
    stack.ok("status")


@pytest.mark.skipif(os.name != "posix", reason="the .venv of this test is a shell script")
@pytest.mark.parametrize("place", ["elsewhere", "inside", "subfolder"])
def test_f41_the_script_behind_the_link_is_the_same_stack(tmp_path, releases, name, place):
    stack = stack_at(releases)
    scripts = releases / "scripts"
    scripts.mkdir()
    shutil.copy(ROOT / "scripts" / "inv.py", scripts)
    give_venv(releases)
    there = {"elsewhere": tmp_path, "inside": releases, "subfolder": scripts}[place]
    script = {
        "elsewhere": str(scripts / "inv.py"),
        "inside": "scripts/inv.py",
        "subfolder": "inv.py",
    }
    done = subprocess.run(
        [sys.executable, script[place], "up"],
        cwd=there,
        env=stack.environment | {"PWD": str(there)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done
    assert folder_of(stack) == str(releases)
    assert volumes(name) == [f"{name}_data"]


def give_venv(root):
    """A `.venv` that counts as installed, and is the one of this test run."""
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
    """The first checkout, with two containers of another Compose file: one runs, one has ended."""
    (first.root / "other.yaml").write_text(OTHER, "utf-8")
    first.compose("--file", "other.yaml", "up", "--detach")
    wait_until("it has ended", lambda: states(name).get("done") == "exited")
    return first


def states(name):
    words = ("--filter", f"label=com.docker.compose.project={name}", "--format", "json")
    lines = dockerized.docker("ps", "--all", *words).stdout.splitlines()
    found = map(json.loads, lines)
    return {
        each["Names"].removeprefix(f"{name}-").removesuffix("-1"): each["State"] for each in found
    }


def test_f42_orphans_are_listed_and_stay(orphaned, name, measured):
    listed = f"{name}-done-1, {name}-old-1"
    shown = orphaned.ok("up", "--dry-run")
    assert re.search(f"^leave +{name}-old-1 ", shown, re.MULTILINE)
    assert not re.search("^remove", shown, re.MULTILINE)
    result = orphaned.inv("up")
    assert result.returncode == 0, result
    assert f"notice: keeping orphans (in no Compose file): {listed}\n" in result.stderr
    assert "inv up --remove-orphans" in result.stderr
    assert "Found orphan containers" not in result.stderr
    assert states(name) == {"db": "running", "old": "running", "done": "exited"}
    result = orphaned.inv("down", env={"COMPOSE_REMOVE_ORPHANS": "1"})
    assert result.returncode == 0, result
    assert f"keeping orphans (in no Compose file): {listed}\n" in result.stderr
    assert states(name) == {"old": "running", "done": "exited"}
    measured("listed by `up`, its dry run and `down`; both stay")


def test_f42_orphans_are_removed_with_the_flag_and_listed_before(orphaned, name):
    shown = orphaned.ok("up", "--remove-orphans", "--dry-run")
    assert re.search(f"^remove +{name}-old-1 ", shown, re.MULTILINE)
    assert states(name)["old"] == "running"
    result = orphaned.inv("up", "--remove-orphans", env={"COMPOSE_IGNORE_ORPHANS": "1"})
    assert result.returncode == 0, result
    said = result.stderr
    assert said.index(f"removing orphans (in no Compose file): {name}-done-1") < (
        said.index("docker compose up --detach --remove-orphans")
    )
    assert states(name) == {"db": "running"}


def test_f42_a_service_of_another_profile_is_no_orphan(tmp_path, name):
    services = SERVICES.replace(
        "volumes: {data", f"  tool: {{{IDLE}, profiles: [x]}}\nvolumes: {{data"
    )
    stack = engines.checkout(tmp_path / name, services)
    stack.compose("--profile", "x", "up", "--detach")
    result = stack.inv("up", "--remove-orphans")
    assert result.returncode == 0, result
    assert "orphans," not in result.stderr
    assert states(name) == {"db": "running", "tool": "running"}


# Swarm


@pytest.fixture(scope="module")
def manager():
    """A swarm of one node with the image that these tests use."""
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
    words = ("--filter", "desired-state=running", "--format", "{{.ID}} {{.Name}}", "--no-trunc")
    return sorted(manager.docker("stack", "ps", name, *words).stdout.splitlines())


def test_f39_another_checkouts_swarm_stack_is_refused(tmp_path, manager):
    with swarm_checkout(tmp_path / "one" / "shop", manager) as first:
        first.ok("up")
        before = running_tasks(manager, "shop")
        assert len(before) == 1
        second = engines.checkout(tmp_path / "two" / "shop", SERVICES, DOCKER_HOST=manager.host)
        second.environment["INVOKE_STACK_RUNTIME"] = "swarm"
        verbs = ("status", "up", "up --dry-run", "down", "down --volumes --yes", "restart db")
        for words in verbs:
            message, _ = refused(second, words)
            assert message == f"the project 'shop' belongs to another checkout: {first.root}"
        assert second.inv("doctor").returncode == 3
        # The folder is no part of what a task runs: another one, by the same name, restarts none.
        first.root.parent.rename(tmp_path / "moved")
        first.root = tmp_path / "moved" / "shop"
        message, _ = refused(first, "up")
        # This engine has a network of its own, so its machine is not known to be this one.
        assert "belongs to another checkout" in message
        with first.setting("COMPOSE_PROJECT_NAME=shop"):
            first.ok("up")
            assert running_tasks(manager, "shop") == before
        first.ok("status")
        first.ok("down")
        message, _ = refused(second, "down --volumes --yes")
        assert "shop_data may be another checkout's data" in message
        first.ok("down", "--volumes", "--yes")
        assert manager.docker("volume", "ls", "--quiet").stdout == ""


def test_f42_orphans_of_a_swarm_stack_stay_without_the_flag(tmp_path, manager):
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
