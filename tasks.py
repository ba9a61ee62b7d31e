"""deal-scout's verbs: those of invoke-stack, and tasks for development."""

import os
import sys
import tempfile
from pathlib import Path

from invoke import Context, Exit, task

from deal_scout_profile import PROFILE
from invoke_stack import namespace

ROOT = Path(__file__).resolve().parent

# The tests of each tier, as an expression over the markers in pyproject.toml.
QUICK = "not engine and not slow and not matrix"
ALL = "not matrix"
MATRIX = "matrix"


@task(
    help={
        "all": "also slow tests and tests that need a Docker Engine, as in CI",
        "matrix": "only tests with several engines or machines, and long loads",
        "faults": "only fault injection; updates docs/reliability.md",
        "k": "only tests whose name matches this expression",
        "x": "stop at the first failure",
    }
)
def test(
    c: Context,
    all: bool = False,
    matrix: bool = False,
    faults: bool = False,
    k: str = "",
    x: bool = False,
) -> None:
    """Run the quick tests, which need no Docker Engine.

    They run in parallel, and start their own servers.

    Examples:
      inv test                 after every change
      inv test --all           everything that one Docker Engine can run
      inv test --matrix        by hand, before a release
      inv test -k restart -x
    """
    if all and matrix:
        raise Exit("--all and --matrix cannot be combined\n  run one after the other", 2)
    tier = MATRIX if matrix else ALL if all or faults else QUICK
    # Most tests wait for servers, so use one more worker than CPUs. A matrix test starts several
    # engines.
    workers = "1" if matrix else str((os.cpu_count() or 1) + 1)
    command = [sys.executable, "-m", "pytest", "-m", tier, "-n", workers, "--dist", "loadgroup"]
    command += [*(["-k", k] if k else []), *(["-x"] if x else [])]
    variables = {"TEST_TIER": "quick"} if tier == QUICK else {}  # for tests/conftest.py
    if not faults:
        _run(command, **variables)
        return
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "record"
        record.touch()
        _run([*command, "tests/faults"], FAULTS_RECORD=str(record))
        _run([sys.executable, "-m", "tests.faults.report", str(record)])


@task(
    help={
        "pairs": "how many times to measure both sides of each row",
        "only": "only these rows and curves, comma-separated",
    }
)
def bench(c: Context, pairs: str = "10", only: str = "") -> None:
    """Measure the verbs against the commands that they replace."""
    _run([sys.executable, "-m", "bench", "--pairs", pairs, "--only", only])


@task
def lint(c: Context) -> None:
    """Check style, types and shell scripts."""
    folders = [".", "backend", "scripts", "tests/engine"]
    scripts = sorted(str(path) for folder in folders for path in (ROOT / folder).glob("*.sh"))
    scripts += [str(ROOT / ".ci" / "run"), *map(str, (ROOT / "tests/engine/images").glob("*/*.sh"))]
    _run([sys.executable, "-m", "ruff", "check", "."])
    _run([sys.executable, "-m", "ruff", "format", "--check", "."])
    _run([sys.executable, "-m", "mypy"])
    _run([str(Path(sys.executable).with_name("shellcheck")), *scripts])


def _run(command: list[str], **variables: str) -> None:
    import subprocess
    from importlib.util import find_spec

    if not find_spec("pytest"):
        raise Exit(
            "the development tools are not installed\n  install them: python3 scripts/inv.py test",
            2,
        )
    environ = os.environ | variables
    # Without bytecode every pytest worker would rewrite the asserts of some 400 modules again.
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    code = subprocess.run(command, cwd=ROOT, env=environ).returncode
    if code:
        raise Exit(code=code)


ns = namespace(test, lint, bench, root=ROOT, profile=PROFILE)
