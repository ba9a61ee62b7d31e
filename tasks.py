"""deal-scout's verbs: those of invoke-stack, and the developers' own."""

import os
import sys
import tempfile
from pathlib import Path

from invoke import Context, Exit, task

from deal_scout_profile import PROFILE
from invoke_stack import namespace

ROOT = Path(__file__).resolve().parent


# Which tests a tier runs, as an expression over the markers of pyproject.toml.
QUICK = "not engine and not slow and not matrix"
ALL = "not matrix"
MATRIX = "matrix"


@task(
    help={
        "all": "also what takes long or needs a Docker Engine: what CI runs",
        "matrix": "only what needs several engines or machines, and the long load proofs",
        "faults": "only the injected faults; their results go to docs/reliability.md",
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

    In parallel, on real servers of their own.

    Examples:
      inv test                 what everybody runs, all the time
      inv test --all           everything that one Docker Engine can run
      inv test --matrix        by hand, before an issue is resolved
      inv test -k restart -x
    """
    if all and matrix:
        raise Exit("--all and --matrix are two tiers\n  run one after the other", 2)
    tier = MATRIX if matrix else ALL if all or faults else QUICK
    # Most tests wait for a server now and then; those of the matrix start several engines each.
    workers = "1" if matrix else str((os.cpu_count() or 1) + 1)
    words = [sys.executable, "-m", "pytest", "-m", tier, "-n", workers, "--dist", "loadgroup"]
    words += [*(["-k", k] if k else []), *(["-x"] if x else [])]
    tier_of_conftest = {"TEST_TIER": "quick"} if tier == QUICK else {}
    if not faults:
        _run(words, **tier_of_conftest)
        return
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "record"
        record.touch()
        _run([*words, "tests/faults"], FAULTS_RECORD=str(record))
        _run([sys.executable, "-m", "tests.faults.report", str(record)])


@task(
    help={
        "pairs": "measure both sides of each row so many times",
        "only": "only these rows and curves, by name, with commas between them",
    }
)
def bench(c: Context, pairs: str = "10", only: str = "") -> None:
    """Measure the verbs beside what one would run instead."""
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


def _run(words: list[str], **variables: str) -> None:
    import subprocess
    from importlib.util import find_spec

    if not find_spec("pytest"):
        raise Exit("the developers' tools are missing\n  add them: python3 scripts/inv.py test", 2)
    environ = os.environ | variables
    # Every worker of pytest would otherwise rewrite the assertions of some 400 modules again.
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    code = subprocess.run(words, cwd=ROOT, env=environ).returncode
    if code:
        raise Exit(code=code)


ns = namespace(test, lint, bench, root=ROOT, profile=PROFILE)
