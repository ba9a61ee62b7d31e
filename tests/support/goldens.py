"""Golden files: what users and programs see, in `tests/golden/`, compared with what they see now.

After a change of what is shown, update the files, and review their diff:

    UPDATE_GOLDEN=1 inv test --all -k golden

UPDATE_GOLDEN also removes the files of no test. Those of the runtime `compose` need an engine; where
none answers they stay as they are.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path

import pytest

from harness.stacks import ROOT, Stack
from tests.support import placeholders

FOLDER = Path(__file__).parents[1] / "golden"
UPDATE = "UPDATE_GOLDEN"
COMMAND = f"{UPDATE}=1 inv test --all -k golden"
AT_ONCE = 2  # commands that only read, side by side
READINGS = 3  # at most, of what only reads
LIMIT = 400  # seconds for one command

_declared: set[str] = set()


def declare(names: Iterable[str]) -> None:
    """Name golden files that a test compares; the others are out of date."""
    _declared.update(names)


def compare(texts: Mapping[str, str], folder: Path = FOLDER) -> None:
    """Compare each text with the golden file of its name; fail with the diff of all that differ.

    With UPDATE_GOLDEN set, write the files instead.
    """
    unknown = set(texts) - _declared
    assert not unknown, f"not declared: {sorted(unknown)}"
    differences = []
    for name, text in texts.items():
        file = folder / name
        if os.environ.get(UPDATE):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, "utf-8")
            continue
        golden = file.read_text("utf-8") if file.exists() else ""
        if golden != text:
            differences += [*_diff(golden, text, name), ""]
    if differences:
        differences.append(f"To accept this: {COMMAND}")
        pytest.fail("\n".join(differences), pytrace=False)


def settled(name: str, read: Callable[[], str], times: int = READINGS) -> str:
    """Read up to so many times, until the text is that of the golden file.

    On a busy machine a probe may run into its timeout.
    """
    for _ in range(times):
        text = read()
        file = FOLDER / name
        if os.environ.get(UPDATE) or (file.exists() and file.read_text("utf-8") == text):
            break
    return text


def _diff(golden: str, text: str, name: str) -> Iterable[str]:
    path = f"tests/golden/{name}"
    return difflib.unified_diff(
        *(golden.splitlines(), text.splitlines(), path, f"{path} (now)"), lineterm=""
    )


def stale(folder: Path = FOLDER) -> list[str]:
    """Return the names of the golden files that no test has declared."""
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*.txt")}
    return sorted(files - _declared)


# Commands


class State:
    """The golden files of one state of a stack: one for each command, all in one folder.

    A command may hold fields in braces, which `check` fills in.
    """

    def __init__(self, folder: str, *commands: str) -> None:
        self.files = {f"{folder}/{_slug(command)}.txt": command for command in commands}
        assert len(self.files) == len(commands)
        declare(self.files)

    def check(self, stack: Stack, **fields: str) -> None:
        """Run the commands in their order, those that only read side by side, and compare."""

        def run(item: tuple[str, str]) -> tuple[str, str]:
            name, command = item
            words = shlex.split(command.format(**fields))
            times = READINGS if _only_reads(item) else 1
            return name, settled(name, lambda: self._shown(stack, command, words), times)

        texts: dict[str, str] = {}
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for reads, group in groupby(self.files.items(), _only_reads):
                apply = pool.map if reads else map
                texts |= dict(apply(run, group))
        compare(texts)

    def _shown(self, stack: Stack, command: str, words: Sequence[str]) -> str:
        return transcript(command, stack.inv(*words, timeout=LIMIT), values(stack))

    def compare(self, stack: Stack, results: Sequence[subprocess.CompletedProcess[str]]) -> None:
        """Compare what the commands have answered already."""
        files = zip(self.files.items(), results, strict=True)
        names = values(stack)
        compare({name: transcript(command, result, names) for (name, command), result in files})


def _slug(command: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", command.lower()).strip("-")


def _only_reads(item: tuple[str, str]) -> bool:
    _, command = item
    reading = ("health", "status", "logs", "migrations", "doctor")
    return command.split()[0] in reading or "--dry-run" in command


def transcript(
    command: str, result: subprocess.CompletedProcess[str], names: Mapping[str, str]
) -> str:
    """Return a command with its exit code and what it wrote, as the text of a golden file."""
    streams = {
        "stdout": _output(command, result.stdout, names),
        "stderr": placeholders.text(result.stderr, names),
    }
    shown = "".join(f"\n--- {stream}\n{text}" for stream, text in streams.items() if text)
    return f"$ inv {command}\nexit code {result.returncode}\n{shown}"


def _output(command: str, output: str, names: Mapping[str, str]) -> str:
    if "--json" not in command:
        return placeholders.text(output, names)
    try:
        if command.startswith("logs"):
            return placeholders.records(output, names)
        return placeholders.document(output, names)
    except json.JSONDecodeError:
        return placeholders.text(output, names)


_VARIABLES = {
    "COMPOSE_PROJECT_NAME": "{project}",
    "PORT": "{backend port}",
    "FRONTEND_PORT": "{frontend port}",
}


def values(stack: Stack) -> dict[str, str]:
    """Return the placeholders of what is known to differ between stacks."""
    variables = {
        stack.environment[name]: placeholder
        for name, placeholder in _VARIABLES.items()
        if name in stack.environment
    }
    paths = {str(stack.root): "{root}", sys.prefix: "{venv}"}
    return paths | variables | version() | _ports(stack)


def version() -> dict[str, str]:
    """Return the placeholder of deal-scout's version."""
    text = (ROOT / "backend" / "app" / "__init__.py").read_text("utf-8")
    found = re.search(r'^VERSION = "(.+)"$', text, re.MULTILINE)
    assert found
    return {found[1]: "{version}"}


def _ports(stack: Stack) -> dict[str, str]:
    file = stack.root / ".local" / "stack.json"
    if not file.exists():
        return {}
    ports = json.loads(file.read_text("utf-8"))["ports"]
    return {str(port): f"{{{name} port}}" for name, port in ports.items()}
