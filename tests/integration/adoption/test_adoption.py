"""The toolkit in a project that it has never seen, installed as a package."""

import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from harness import dockerized
from harness.composed import ComposeStack
from harness.servers import wait_until
from harness.stacks import ROOT, copy_checkout

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """What `pip install` of the toolkit puts into an environment, its dependencies aside."""
    folder = tmp_path_factory.mktemp("package")
    source = copy_checkout(folder / "source")
    # `.venv` has a pip only where the Python that made it has none.
    python = sys.executable if find_spec("pip") else sys._base_executable
    words = [python, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder]
    subprocess.run([*words, source], check=True)
    [wheel] = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


@pytest.fixture(scope="module")
def greeter(package, tmp_path_factory):
    dockerized.find_engine()
    folder = tmp_path_factory.mktemp("a project of mine")
    shutil.copytree(
        ROOT / "tests" / "integration" / "adoption" / "greeter", folder, dirs_exist_ok=True
    )
    name = f"{dockerized.RUN}-greeter"
    environment = dockerized.environment(COMPOSE_PROJECT_NAME=name, PYTHONPATH=str(package))
    stack = ComposeStack(folder, environment=environment)
    try:
        stack.ok("up", "--timeout", "60")
        yield stack
    finally:
        stack.compose("down", "--volumes", "--timeout", "1", ok=False)


def test_three_lines_and_a_few_of_configuration_are_enough():
    project = ROOT / "tests" / "integration" / "adoption" / "greeter"
    assert len((project / "tasks.py").read_text("utf-8").splitlines()) == 3
    assert len((project / "invoke.yaml").read_text("utf-8").splitlines()) <= 7


def test_it_is_the_installed_package_that_runs(greeter, package):
    code = "import invoke_stack; print(invoke_stack.__path__[0])"
    said = subprocess.run(
        [sys.executable, "-c", code],
        cwd=greeter.root,
        env=greeter.environment,
        capture_output=True,
        text=True,
    )
    assert Path(said.stdout.strip()) == package / "invoke_stack"


def test_status_shows_its_services_and_says_nothing_of_a_schema(greeter):
    said = greeter.ok("status")
    assert "greeter" in said
    assert "counter" in said
    assert "schema" not in said
    assert greeter.inv("migrations").returncode == 2


def test_doctor_finds_nothing_and_makes_no_checks_of_deal_scouts(greeter):
    assert "✓ nothing is wrong" in greeter.ok("doctor")
    checks = {each["name"] for each in greeter.json("doctor")["checks"]}
    assert {"engine", "ports", "running", "memory"} <= checks
    assert checks.isdisjoint({"schema", "revisions", "heartbeats", "alembic-cmd"})


def test_health_asks_its_own_address(greeter):
    assert "✓ greeter is healthy" in greeter.ok("health")
    assert greeter.json("health")["url"].endswith("/healthz")
    port = greeter.service("greeter")["ports"][0]
    assert greeter.inv("health", "--url", f"http://{port}").returncode == 0


def test_a_restart_is_judged_by_its_own_markers(greeter):
    verdict = greeter.json("restart", "greeter")
    assert verdict["verdict"] == "healthy"
    assert [(p["name"], p["outcome"]) for p in verdict["phases"]] == [
        ("dictionary", "done"),
        ("greeting", "serving"),
    ]
    # `restart-backend` is the word for the main service, whatever its name.
    assert "✓ greeter is healthy after" in greeter.ok("restart-backend")
    assert greeter.json("restart", "counter")["verdict"] == "healthy"


def test_its_logs_are_shown(greeter):
    assert "listening on 9090" in greeter.ok("logs", "--tail", "5")
    wait_until("redis speaks", lambda: "Ready to accept" in greeter.ok("logs", "counter"), 20)


@pytest.mark.parametrize(
    ("mood", "code", "words"),
    [("sad", 3, "HTTP 500"), ("lost", 3, "the dictionary is lost")],
)
def test_a_start_that_fails_shows_why(greeter, mood, code, words):
    (greeter.root / ".env").write_text(f"MOOD={mood}\n")
    try:
        greeter.compose("up", "--detach", "greeter")
        result = greeter.inv("restart", "greeter")
        assert result.returncode == code, result.stdout + result.stderr
        assert words in result.stdout
        assert "inv logs greeter" in result.stdout
    finally:
        (greeter.root / ".env").unlink()
        greeter.compose("up", "--detach", "greeter")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("service: ''", "stack.service in invoke.yaml is empty"),
        ("ready: greeter:9090", "invalid value 'greeter:9090' for stack.ready in invoke.yaml"),
        ("phases: {dictionary: '('}", "stack.phases.dictionary in invoke.yaml"),
        ("phases: {dictionary: []}", "invalid value [] for stack.phases.dictionary in invoke.yaml"),
        ("phases: nonsense", "invalid value 'nonsense' for stack.phases in invoke.yaml"),
        ("runtime: kubernetes", "stack.runtime in invoke.yaml"),
    ],
)
def test_a_bad_setting_is_named(tmp_path, package, setting, words):
    shutil.copy(ROOT / "tests" / "integration" / "adoption" / "greeter" / "tasks.py", tmp_path)
    (tmp_path / "invoke.yaml").write_text(f"stack:\n  {setting}\n")
    stack = ComposeStack(tmp_path, environment=dockerized.environment(PYTHONPATH=str(package)))
    result = stack.inv("status")
    assert result.returncode == 2
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def test_the_runtime_without_docker_is_not_for_other_projects(tmp_path, package):
    shutil.copy(ROOT / "tests" / "integration" / "adoption" / "greeter" / "tasks.py", tmp_path)
    stack = ComposeStack(tmp_path, environment=dockerized.environment(PYTHONPATH=str(package)))
    result = stack.inv("up", "--runtime", "local")
    assert result.returncode == 4
    assert "cannot start the programs of this project" in result.stderr
    assert not (tmp_path / ".local" / "run").exists()
    # And `auto` does not fall back to it.
    nowhere = {"DOCKER_HOST": f"unix://{tmp_path}/none.sock"}
    result = stack.inv("status", env=nowhere)
    assert result.returncode == 4
    assert "cannot start" not in result.stderr
