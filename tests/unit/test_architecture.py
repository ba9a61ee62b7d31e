"""The dependencies in docs/architecture.md, and the documents that must match the code."""

import ast
import functools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from deal_scout_profile import variables

ROOT = Path(__file__).parents[2]


@functools.cache
def imports(path):
    modules = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules.append(node.module)
    return modules


def users_of(package, folder):
    users = set()
    for path in (ROOT / folder).rglob("*.py"):
        if any(name == package or name.startswith(package + ".") for name in imports(path)):
            users.add(path.relative_to(ROOT).as_posix())
    return users


CORE = {"model", "errors", "timestamps", "text"}
# The other layers that each layer may import; `docs/architecture.md` says why.
LAYERS = {
    "cli": {"commands", "render", "profile", "config", *CORE},
    "commands": {"judge", "runtimes", "profile", "config", *CORE},
    "judge": {"profile", *CORE},
    "render": {"profile", *CORE},
    "runtimes": {"config", "env_file", "profile", *CORE},
    "config": {"env_file", "profile", "model", "errors", "timestamps"},
    "env_file": {"model", "errors"},
    "profile": {"model", "errors"},
    **{name: set() for name in CORE},
}


def layer_of(path):
    return path.relative_to(ROOT / "invoke_stack").parts[0].removesuffix(".py")


def imported_layers(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            yield "a relative import"
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name.split(".")[1] for name in names if name.startswith("invoke_stack."))
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.split(".")[0] == "invoke_stack")


def test_layers_import_only_what_they_may():
    violations = [
        f"{path.relative_to(ROOT)} imports {layer}"
        for path in sorted((ROOT / "invoke_stack").rglob("*.py"))
        if path.parent != ROOT / "invoke_stack" or path.name != "__init__.py"
        for layer in imported_layers(path)
        if layer != layer_of(path) and layer not in LAYERS[layer_of(path)]
    ]
    assert violations == []


def test_toolkit_and_backend_do_not_import_each_other():
    assert users_of("app", "invoke_stack") == users_of("backend", "invoke_stack") == set()
    assert users_of("invoke_stack", "backend") == set()


def test_toolkit_does_not_mention_deal_scout():
    assert users_of("deal_scout_profile", "invoke_stack") == set()
    for path in (ROOT / "invoke_stack").rglob("*.py"):
        if "runtimes" not in path.parts:  # `local` starts the programs of deal-scout
            text = path.read_text("utf-8")
            assert not re.search(r"== \"local\"|\[entrypoint\]|app\.health|/migrations", text), path


def test_tests_are_imported_only_by_tests():
    for folder in ("invoke_stack", "backend", "harness", "bench"):
        assert users_of("tests", folder) == set(), folder


def test_libraries_are_imported_only_by_their_layer():
    layers = {"invoke": "cli", "rich": "cli"}
    layers |= dict.fromkeys(("docker", "subprocess", "xmlrpc", "psutil"), "runtimes")
    for package, layer in layers.items():
        users = users_of(package, "invoke_stack")
        assert all(user.startswith(f"invoke_stack/{layer}/") for user in users), package


def test_invoke_is_imported_by_few_modules():
    users = {Path(user).name for user in users_of("invoke", "invoke_stack")}
    assert users == {"glue.py", "namespace.py", "invokefile.py", "rejections.py", "closed_pipe.py"}


def test_pure_layers_import_no_io():
    toolkit = ROOT / "invoke_stack"
    folders = [toolkit / name for name in ("judge", "render", "profile")]
    paths = [path for folder in folders for path in folder.rglob("*.py")]
    paths += [
        toolkit / "model.py",
        toolkit / "text.py",
        toolkit / "timestamps.py",
        toolkit / "runtimes" / "choice.py",
    ]
    paths += [toolkit / "commands" / "history.py", toolkit / "commands" / "poll_state.py"]
    for path in paths:
        assert not {"os", "socket", "subprocess", "httpx", "threading"} & set(imports(path)), path


def test_alembic_and_tasks_are_not_shadowed():
    assert not (ROOT / "alembic" / "__init__.py").exists()
    assert not (ROOT / "tasks").exists()


@pytest.mark.parametrize(
    "heavy", ["docker", "httpx", "rich", "psutil", "deal_scout_profile.diagnosis"]
)
def test_toolkit_imports_heavy_modules_only_on_use(heavy):
    code = f"import invoke_stack.cli.namespace, deal_scout_profile, sys; sys.exit('{heavy}' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


@pytest.mark.parametrize("heavy", ["fastapi", "httpx"])
def test_worker_does_not_import_fastapi_or_httpx(heavy):
    code = f"import app.worker.celery, sys; sys.exit('{heavy}' in sys.modules)"
    environ = os.environ | {"PYTHONPATH": str(ROOT / "backend")}
    assert subprocess.run([sys.executable, "-c", code], env=environ).returncode == 0


def variables_of_the_backend():
    text = (ROOT / "backend" / "app" / "settings.py").read_text("utf-8")
    text += (ROOT / "backend" / "entrypoint.sh").read_text("utf-8")
    names = set(re.findall(r"(?:text|number|whole)\(\"([A-Z_]+)\"", text))
    return names | set(re.findall(r"^export ([A-Z_]+)=", text, re.MULTILINE))


def test_every_variable_is_in_the_example_and_in_the_docs():
    # HOST, RUN_DIR and STATE_DIR belong to whoever runs the backend, not to the user.
    wanted = variables_of_the_backend() - {"HOST", "RUN_DIR", "STATE_DIR"}
    assert len(wanted) > 10
    assert wanted <= variables.CHECKS.keys()
    page = variables.PAGE.read_text("utf-8")
    hint = "python -m deal_scout_profile.variables"
    assert (ROOT / ".env.example").read_text("utf-8") == variables.env_example(), hint
    assert variables.with_table(page) == page, hint


@pytest.mark.parametrize(
    "name", ["requirements.lock", "requirements-dev.lock", "backend/requirements.lock"]
)
def test_lock_files_pin_every_package_by_hash(name):
    lines = (ROOT / name).read_text("utf-8").replace("\\\n", " ").splitlines()
    locked = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    assert len(locked) > 20
    for line in locked:
        assert re.match(r"\S+==\S+ .*--hash=sha256:[0-9a-f]{64}", line), line


def test_installs_require_hashes():
    for path in ("scripts/inv.py", "backend/Dockerfile"):
        text = (ROOT / path).read_text("utf-8")
        assert text.count("--require-hashes") == 1, path
    assert not re.search(r"pip|npm|curl -L|wget", (ROOT / "frontend/Dockerfile").read_text("utf-8"))


def test_scripts_have_lf_endings_and_executable_bits():
    listing = subprocess.run(
        ["git", "ls-files", "--stage", "--", "*.sh", ".ci/run"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listing.returncode:
        pytest.skip("no git checkout")
    for line in listing.stdout.splitlines():
        mode, _, _, name = line.split(maxsplit=3)
        assert b"\r" not in (ROOT / name).read_bytes(), name
        assert mode == "100755" or name.startswith("tests/engine/"), name


def test_defaults_of_the_backend_match_the_table():
    table = {v.name: v.default for row in variables.ROWS for v in row.variables}
    entrypoint = (ROOT / "backend" / "entrypoint.sh").read_text("utf-8")
    settings = (ROOT / "backend" / "app" / "settings.py").read_text("utf-8")
    defaults = dict(re.findall(r'^export ([A-Z_]+)="\$\{\1:-([^$}]+)\}"', entrypoint, re.MULTILINE))
    defaults |= dict(re.findall(r'(?:text|number)\("([A-Z_]+)", "([^"]*)"', settings))
    assert len(defaults.keys() & table.keys()) > 10
    assert {name: table[name] for name in defaults if name in table} == {
        name: default for name, default in defaults.items() if name in table
    }
