"""The toolkit in a foreign project, installed as a package."""

import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from harness import dockerized
from harness.compose_stacks import ComposeStack
from harness.servers import wait_until
from harness.stacks import ROOT, copy_checkout

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """Return the folder with the files that `pip install` of the toolkit installs, without its dependencies."""
    folder = tmp_path_factory.mktemp("package")
    source = copy_checkout(folder / "source")
    # `.venv` has its own pip only if the Python that created it has none.
    python = sys.executable if find_spec("pip") else sys._base_executable
    command = [python, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder]
    subprocess.run([*command, source], check=True)
    [wheel] = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


@pytest.fixture(scope="module")
def greeter(package, tmp_path_factory):
    dockerized.require_engine()
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


def test_greeter_needs_three_lines_of_code_and_little_configuration():
    project = ROOT / "tests" / "integration" / "adoption" / "greeter"
    assert len((project / "tasks.py").read_text("utf-8").splitlines()) == 3
    assert len((project / "invoke.yaml").read_text("utf-8").splitlines()) <= 7


def test_greeter_runs_the_installed_package(greeter, package):
    code = "import invoke_stack; print(invoke_stack.__path__[0])"
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=greeter.root,
        env=greeter.environment,
        capture_output=True,
        text=True,
    )
    assert Path(result.stdout.strip()) == package / "invoke_stack"


def test_status_shows_the_services_without_a_schema(greeter):
    output = greeter.ok("status")
    assert "greeter" in output
    assert "counter" in output
    assert "schema" not in output
    assert greeter.inv("migrations").returncode == 2


def test_doctor_finds_nothing_and_makes_no_checks_of_deal_scouts(greeter):
    assert "✓ no problems found" in greeter.ok("doctor")
    checks = {each["name"] for each in greeter.json("doctor")["checks"]}
    assert {"engine", "ports", "running", "memory"} <= checks
    assert checks.isdisjoint({"schema", "revisions", "heartbeats", "alembic-cmd"})


def test_health_uses_the_configured_readiness_url(greeter):
    assert "✓ greeter is healthy" in greeter.ok("health")
    assert greeter.json("health")["url"].endswith("/healthz")
    port = greeter.service("greeter")["ports"][0]
    assert greeter.inv("health", "--url", f"http://{port}").returncode == 0


def test_restart_reports_the_configured_phases(greeter):
    verdict = greeter.json("restart", "greeter")
    assert verdict["verdict"] == "healthy"
    assert [(p["name"], p["outcome"]) for p in verdict["phases"]] == [
        ("dictionary", "done"),
        ("greeting", "serving"),
    ]
    # `restart-backend` restarts the main service, whatever its name.
    assert "✓ greeter is healthy after" in greeter.ok("restart-backend")
    assert greeter.json("restart", "counter")["verdict"] == "healthy"


def test_logs_show_its_services(greeter):
    assert "listening on 9090" in greeter.ok("logs", "--tail", "5")
    wait_until("redis is ready", lambda: "Ready to accept" in greeter.ok("logs", "counter"), 20)


@pytest.mark.parametrize(
    ("mode", "code", "expected"),
    [("unhealthy", 3, "HTTP 500"), ("crash", 3, "the dictionary is missing")],
)
def test_restart_shows_why_a_start_failed(greeter, mode, code, expected):
    (greeter.root / ".env").write_text(f"MODE={mode}\n")
    try:
        greeter.compose("up", "--detach", "greeter")
        result = greeter.inv("restart", "greeter")
        assert result.returncode == code, result.stdout + result.stderr
        assert expected in result.stdout
        assert "inv logs greeter" in result.stdout
    finally:
        (greeter.root / ".env").unlink()
        greeter.compose("up", "--detach", "greeter")


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("service: ''", "stack.service in invoke.yaml is empty"),
        ("ready: greeter:9090", "invalid value 'greeter:9090' for stack.ready in invoke.yaml"),
        ("phases: {dictionary: '('}", "stack.phases.dictionary in invoke.yaml"),
        ("phases: {dictionary: []}", "invalid value [] for stack.phases.dictionary in invoke.yaml"),
        ("phases: nonsense", "invalid value 'nonsense' for stack.phases in invoke.yaml"),
        ("runtime: kubernetes", "stack.runtime in invoke.yaml"),
    ],
)
def test_verbs_reject_an_invalid_setting(tmp_path, package, setting, expected):
    shutil.copy(ROOT / "tests" / "integration" / "adoption" / "greeter" / "tasks.py", tmp_path)
    (tmp_path / "invoke.yaml").write_text(f"stack:\n  {setting}\n")
    stack = ComposeStack(tmp_path, environment=dockerized.environment(PYTHONPATH=str(package)))
    result = stack.inv("status")
    assert result.returncode == 2
    assert expected in result.stderr
    assert "Traceback" not in result.stderr


def test_local_runtime_is_not_available_in_other_projects(tmp_path, package):
    shutil.copy(ROOT / "tests" / "integration" / "adoption" / "greeter" / "tasks.py", tmp_path)
    stack = ComposeStack(tmp_path, environment=dockerized.environment(PYTHONPATH=str(package)))
    result = stack.inv("up", "--runtime", "local")
    assert result.returncode == 4
    assert "does not support this project" in result.stderr
    assert not (tmp_path / ".local" / "run").exists()
    # `auto` does not fall back to it either.
    no_engine = {"DOCKER_HOST": f"unix://{tmp_path}/none.sock"}
    result = stack.inv("status", env=no_engine)
    assert result.returncode == 4
    assert "does not support this project" not in result.stderr
