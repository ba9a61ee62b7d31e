"""F44: `.venv` is replaced by a complete new one, or not at all."""

from __future__ import annotations

import importlib.util
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.servers import wait_until
from harness.stacks import ROOT
from invoke_stack.runtimes.local.runtime import SERVICES
from tests.faults.environments import (
    Checkout,
    InstalledStack,
    SilentIndex,
    installed_stack,
    kill_before,
    make_checkout,
    make_toolkit,
    make_wheel,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """Return a checkout with version 1 of the toolkit in `.venv`, and wheels of versions 1 and 2."""
    folder = tmp_path_factory.mktemp("environment")
    for version in ("1", "2"):
        make_toolkit(folder / "wheels", version)
    make_wheel(folder / "wheels", "tools", "1", {"tools.py": ""})
    checkout = make_checkout(folder / "checkout", folder / "wheels")
    checkout.lock("1")
    checkout.run_version("1", env=checkout.online)
    return checkout


@pytest.fixture
def checkout(prepared: Checkout, tmp_path: Path) -> Checkout:
    """Return a copy of the prepared checkout."""
    root = tmp_path / "a 'söme' checkout"
    shutil.copytree(prepared.root, root, symlinks=True)
    return Checkout(root, prepared.wheels)


def change_lock(checkout: Checkout) -> None:
    checkout.lock("2")


def change_python(checkout: Checkout) -> None:
    stamp = checkout.venv / "requirements.lock.sha256"
    stamp.write_text(f"{stamp.read_text().split()[0]} 3.11.0")


@pytest.mark.parametrize("change", [change_lock, change_python])
def test_f44_old_environment_is_kept_and_used_offline(checkout, change):
    change(checkout)
    inode = checkout.venv.stat().st_ino
    problem, hint = checkout.run_version("1", "status").splitlines()
    assert re.search(r"cannot be updated: pip failed: ERROR: .*toolkit==\d", problem)
    assert hint.startswith("  ")
    assert "check the network" in hint
    assert checkout.inv("unhealthy").returncode == 3
    assert (checkout.venv.stat().st_ino, checkout.leftovers()) == (inode, [])


@pytest.mark.parametrize("change", [change_lock, change_python])
def test_f44_new_environment_replaces_the_old_one_online(checkout, change):
    change(checkout)
    version = "2" if change is change_lock else "1"
    inode = checkout.venv.stat().st_ino
    assert "ready" in checkout.run_version(version, env=checkout.online)
    assert checkout.venv.stat().st_ino != inode
    assert (checkout.run_version(version), checkout.leftovers()) == ("", [])


def test_f44_script_fails_offline_without_environment(checkout):
    shutil.rmtree(checkout.venv)
    result = checkout.inv("status")
    assert (result.returncode, result.stdout) == (1, "")
    assert "\n  ERROR: No matching distribution found for toolkit==1\n" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("  check the network")
    assert not checkout.venv.exists()
    assert checkout.leftovers() == []


@pytest.mark.parametrize("missing", ["bin/python", "lib/*/site-packages/docker.py"])
def test_f44_broken_environment_is_kept_but_not_used(checkout, missing):
    checkout.lock("2")
    [path] = checkout.venv.glob(missing)
    path.unlink()
    result = checkout.inv("status")
    assert (result.returncode, result.stdout) == (1, "")
    assert "No matching distribution found for toolkit==2" in result.stderr
    assert (checkout.venv / "pyvenv.cfg").exists()


def test_f44_check_imports_all_dependencies():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    names = {re.match(r"[\w-]+", line)[0] for line in project["dependencies"]}
    assert set(inv_module().TOOLKIT.split(", ")) == names


def test_f44_scripts_work_after_replacement(checkout):
    checkout.lock("2")
    checkout.run_version("2", env=checkout.online)
    command = [str(checkout.venv / "bin" / "inv"), "status"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert output == f"2 {checkout.venv} status\n"
    command = ["bash", "-c", '. .venv/bin/activate; echo "$VIRTUAL_ENV"; inv']
    activated = subprocess.run(
        command, cwd=checkout.root, capture_output=True, text=True, check=True
    )
    assert activated.stdout == f"{checkout.venv}\n2 {checkout.venv}\n"
    matches = subprocess.run(["grep", "-rl", r"\.venv\.new", checkout.venv], capture_output=True)
    assert matches.stdout == b""


def test_f44_windows_script_is_a_valid_archive_after_replacement(tmp_path):
    folder = tmp_path / ".venv.new-0123abcd"
    (folder / "bin").mkdir(parents=True)
    (folder / "pyvenv.cfg").touch()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("__main__.py", "print('run')")
    program = folder / "bin" / "inv.exe"
    python = f"{folder}\\Scripts\\python.exe"
    program.write_bytes(f"MZ\0\0#!{python}\r\n".encode() + archive.getvalue())
    inv_module().give_final_name(folder)
    final = python.replace(folder.name, ".venv").encode()
    assert program.read_bytes().startswith(b"MZ\0\0#!" + final + b"\r\nPK")
    assert subprocess.check_output([sys.executable, program]) == b"run\n"


# The audit event before which the script is killed: a change to the disk, or a program it starts.
BEFORE_COMPLETE = {
    "before pip": ("subprocess.Popen", "--require-hashes"),
    "before the scripts are changed": ("open", "/bin/inv w"),
    "before it is marked as complete": ("open", "requirements.lock.sha256 w"),
}
COMPLETE = {
    "before the old one is renamed": ("os.rename", ".venv.old-"),
    "before the new one is renamed": ("os.rename", ".venv.new-"),
    "before the old one is deleted": ("os.remove", "/bin/python"),
    "while the old one is deleted": ("os.rmdir", ""),
}


@pytest.mark.parametrize("step", BEFORE_COMPLETE)
def test_f44_next_run_uses_the_old_environment_after_a_kill(checkout, step):
    checkout.lock("2")
    kill_before(checkout, *BEFORE_COMPLETE[step])
    assert "cannot be updated" in checkout.run_version("1")
    assert checkout.leftovers() == []


@pytest.mark.parametrize("step", COMPLETE)
def test_f44_next_run_finishes_a_killed_replacement_offline(checkout, step):
    checkout.lock("2")
    kill_before(checkout, *COMPLETE[step])
    assert checkout.run_version("2") == ""
    assert checkout.leftovers() == []


def test_f44_next_run_restores_the_old_environment_when_the_new_one_is_incomplete(checkout):
    checkout.lock("2")
    checkout.venv.rename(checkout.root / ".venv.old-1")
    (checkout.root / ".venv.new-1" / "bin").mkdir(parents=True)
    assert "cannot be updated" in checkout.run_version("1")
    assert checkout.leftovers() == []


def test_f44_half_deleted_environment_is_not_restored(checkout):
    checkout.lock("2")
    kill_before(checkout, "os.rmdir", "")
    shutil.rmtree(checkout.venv)
    assert checkout.inv().returncode == 1
    assert checkout.leftovers() == []


@pytest.mark.parametrize("whole_group", [True, False], ids=["process group", "script only"])
def test_f44_ctrl_c_while_pip_runs_keeps_the_old_environment(checkout, whole_group):
    checkout.lock("2")
    index = SilentIndex()
    process = checkout.start(env=checkout.offline | index.variables)
    with index.wait_for_pip():
        (os.killpg if whole_group else os.kill)(process.pid, signal.SIGINT)
        stderr = process.communicate(timeout=30)[1]
    assert (process.returncode, "Traceback" in stderr) == (130, False)
    assert (checkout.leftovers(), checkout.processes()) == ([], [])
    assert subprocess.run([checkout.python, "-m", "invoke"]).returncode == 0


def test_f44_kill_while_pip_runs_keeps_the_old_environment(checkout):
    checkout.lock("2")
    index = SilentIndex()
    process = checkout.start(env=checkout.offline | index.variables)
    with index.wait_for_pip():
        process.kill()
        process.wait(30)
        # pip is still running and must not interfere with the next run.
        checkout.run_version("2", env=checkout.online)
    index.socket.close()
    process.communicate()
    wait_until("pip has ended", lambda: not checkout.processes())
    checkout.run_version("2")
    assert checkout.leftovers() == []


def test_f44_one_of_two_processes_builds_and_the_other_waits(checkout):
    checkout.lock("2")
    index = SilentIndex()
    first = checkout.start(env=checkout.offline | index.variables)
    with index.wait_for_pip():
        second = checkout.start("status", env=checkout.online)
        assert "waiting for it" in second.stderr.readline()
        first.kill()
        first.communicate()
        stdout, stderr = second.communicate(timeout=60)
    assert (second.returncode, stdout) == (0, f"2 {checkout.venv} status\n")
    assert "ready" in stderr


def test_f44_five_processes_at_once_build_one_environment(checkout):
    checkout.lock("2")
    processes = [checkout.start(env=checkout.online) for _ in range(5)]
    notices = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 5
    assert sum("ready" in notice for notice in notices) == 1
    assert checkout.leftovers() == []


def test_f44_command_that_needs_no_update_does_not_wait(checkout):
    index = SilentIndex()
    first = checkout.start("test", env=checkout.offline | index.variables)
    with index.wait_for_pip():
        assert checkout.run_version("1") == ""
        assert [name[:10] for name in checkout.leftovers()] == [".venv.new-"]
        first.kill()
        first.communicate()


def test_f44_developer_tools_stay_when_another_command_replaces_the_environment(checkout):
    checkout.run_version("1", "test", env=checkout.online)
    assert checkout.has_tools()
    checkout.lock("2")
    checkout.run_version("2", "status", env=checkout.online)
    assert checkout.has_tools()
    assert checkout.run_version("2", "test") == ""


def test_f44_failed_install_of_developer_tools_does_not_affect_other_commands(checkout):
    assert "cannot be updated" in checkout.run_version("1", "test")
    kill_before(checkout, *BEFORE_COMPLETE["before the scripts are changed"], "test")
    assert (checkout.run_version("1"), checkout.leftovers()) == ("", [])
    assert not checkout.has_tools()


@pytest.mark.parametrize("killed", [False, True])
def test_f44_symbolic_link_is_replaced_and_its_target_kept(checkout, tmp_path, killed):
    target = tmp_path / "elsewhere"
    checkout.venv.rename(target)
    checkout.venv.symlink_to(target)
    files = {path for path in target.rglob("*") if "__pycache__" not in path.parts}
    assert checkout.run_version("1") == ""
    checkout.lock("2")
    if killed:
        kill_before(checkout, *COMPLETE["before the new one is renamed"])
    checkout.run_version("2", env=checkout.online)
    assert not checkout.venv.is_symlink()
    assert files <= set(target.rglob("*"))
    assert checkout.leftovers() == []


def test_f44_servers_of_running_stack_stay_when_python_version_changes(checkout):
    # supervisord restarts them from their path, which contains the version.
    server = checkout.venv / "lib" / "python3.2" / "site-packages" / "server"
    server.parent.mkdir(parents=True)
    server.write_text("postgres")
    pid = checkout.root / ".local" / "run" / "supervisord.pid"
    pid.parent.mkdir(parents=True)
    pid.touch()
    checkout.lock("2")
    checkout.run_version("2", env=checkout.online)
    assert server.exists()
    pid.unlink()
    checkout.lock("1")
    checkout.run_version("1", env=checkout.online)
    assert not server.exists()


def test_f44_environment_is_used_when_folder_is_read_only(checkout):
    checkout.lock("2")
    # The tests may run as root, who can write anywhere, but not open a folder as a file.
    (checkout.root / ".venv.lock").unlink()
    (checkout.root / ".venv.lock").mkdir()
    assert "cannot be updated: [Errno" in checkout.run_version("1", env=checkout.online)


def test_f44_git_and_docker_ignore_every_temporary_name():
    names = [".venv", ".venv.lock", ".venv.new-0123abcd", ".venv.old-0123abcd"]
    ignored = subprocess.run(
        ["git", "check-ignore", "--no-index", *names], cwd=ROOT, capture_output=True, text=True
    )
    if ignored.returncode == 128:
        pytest.skip("no git checkout")
    assert ignored.stdout.split() == names
    assert "**/.*" in (ROOT / ".dockerignore").read_text("utf-8").splitlines()


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[tuple[InstalledStack, Checkout]]:
    """Yield a stack that is not up, and its checkout."""
    with installed_stack(tmp_path) as (stack, checkout):
        yield stack, checkout


def test_f44_running_stack_survives_replacement(installed):
    stack, checkout = installed
    stack.ok("up", env=checkout.online, timeout=600)
    pids = {service: stack.pids(service)[0] for service in SERVICES}
    inode = checkout.venv.stat().st_ino

    with (stack.root / "requirements.lock").open("a") as lock:
        lock.write("# changed\n")
    offline = stack.inv("health")
    assert (offline.returncode, "cannot be updated" in offline.stderr) == (0, True)
    stack.ok("health", env=checkout.online)
    assert checkout.venv.stat().st_ino != inode
    assert {service: stack.pids(service)[0] for service in SERVICES} == pids

    for service in ("postgres", "redis", "worker"):
        stack.kill(service)
    wait_until("the killed services run again", stack.is_healthy, 60)
    stack.ok("restart-backend")
    stack.ok("backup")
    stack.ok("down")


def inv_module():
    spec = importlib.util.spec_from_file_location("inv_script", ROOT / "scripts" / "inv.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
