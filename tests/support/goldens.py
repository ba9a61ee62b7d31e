"""Golden files: the expected output of commands and endpoints, in `tests/golden/`.

After a change of the output, update the files and review their diff:

    UPDATE_GOLDEN=1 inv test --all -k golden

UPDATE_GOLDEN also removes files that no test uses.
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
PARALLEL = 2  # reading commands that run at the same time
ATTEMPTS = 3  # at most, for each reading command
TIMEOUT = 400  # seconds for one command

_declared: set[str] = set()


def declare(names: Iterable[str]) -> None:
    """Register golden files that a test compares; all others are stale."""
    _declared.update(names)


def compare(texts: Mapping[str, str], folder: Path = FOLDER) -> None:
    """Compare each text with the golden file of its name; fail with the diff of all that differ.

    If UPDATE_GOLDEN is set, write the files instead.
    """
    undeclared = set(texts) - _declared
    assert not undeclared, f"not declared: {sorted(undeclared)}"
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


def read_until_equal(name: str, read: Callable[[], str], attempts: int = ATTEMPTS) -> str:
    """Read until the text equals the golden file, at most `attempts` times; return the last text.

    On a busy machine a probe may time out.
    """
    for _ in range(attempts):
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
    """The golden files of a stack in one state: one file for each command, in one folder.

    A command may contain fields in braces, which `check` fills in.
    """

    def __init__(self, folder: str, *commands: str) -> None:
        self.files = {f"{folder}/{_slug(command)}.txt": command for command in commands}
        assert len(self.files) == len(commands)
        declare(self.files)

    def check(self, stack: Stack, **fields: str) -> None:
        """Run the commands in order, reading ones in parallel, and compare their output."""

        def run(item: tuple[str, str]) -> tuple[str, str]:
            name, command = item
            arguments = shlex.split(command.format(**fields))
            attempts = ATTEMPTS if _only_reads(item) else 1

            def read() -> str:
                result = stack.inv(*arguments, timeout=TIMEOUT)
                return transcript(command, result, stack_placeholders(stack))

            return name, read_until_equal(name, read, attempts)

        texts: dict[str, str] = {}
        with ThreadPoolExecutor(PARALLEL) as pool:
            for reads, group in groupby(self.files.items(), _only_reads):
                apply = pool.map if reads else map
                texts |= dict(apply(run, group))
        compare(texts)

    def compare(self, stack: Stack, results: Sequence[subprocess.CompletedProcess[str]]) -> None:
        """Compare results of the commands that the caller has run."""
        files = zip(self.files.items(), results, strict=True)
        values = stack_placeholders(stack)
        compare({name: transcript(command, result, values) for (name, command), result in files})


def _slug(command: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", command.lower()).strip("-")


def _only_reads(item: tuple[str, str]) -> bool:
    _, command = item
    reading_verbs = ("health", "status", "logs", "migrations", "doctor")
    return command.split()[0] in reading_verbs or "--dry-run" in command


def transcript(
    command: str, result: subprocess.CompletedProcess[str], values: Mapping[str, str]
) -> str:
    """Return a command, its exit code and its output as the text of a golden file."""
    streams = {
        "stdout": _output(command, result.stdout, values),
        "stderr": placeholders.text(result.stderr, values),
    }
    sections = "".join(f"\n--- {stream}\n{text}" for stream, text in streams.items() if text)
    return f"$ inv {command}\nexit code {result.returncode}\n{sections}"


def _output(command: str, output: str, values: Mapping[str, str]) -> str:
    if "--json" not in command:
        return placeholders.text(output, values)
    try:
        if command.startswith("logs"):
            return placeholders.records(output, values)
        return placeholders.document(output, values)
    except json.JSONDecodeError:
        return placeholders.text(output, values)


_VARIABLES = {
    "COMPOSE_PROJECT_NAME": "{project}",
    "PORT": "{backend port}",
    "FRONTEND_PORT": "{frontend port}",
}


def stack_placeholders(stack: Stack) -> dict[str, str]:
    """Return the values that differ between stacks, such as ports, with their placeholders."""
    variables = {
        stack.environment[name]: placeholder
        for name, placeholder in _VARIABLES.items()
        if name in stack.environment
    }
    paths = {str(stack.root): "{root}", sys.prefix: "{venv}"}
    return paths | variables | version_placeholder() | _ports(stack)


def version_placeholder() -> dict[str, str]:
    """Return the version of deal-scout with its placeholder."""
    text = (ROOT / "backend" / "app" / "__init__.py").read_text("utf-8")
    match = re.search(r'^VERSION = "(.+)"$', text, re.MULTILINE)
    assert match
    return {match[1]: "{version}"}


def _ports(stack: Stack) -> dict[str, str]:
    file = stack.root / ".local" / "stack.json"
    if not file.exists():
        return {}
    ports = json.loads(file.read_text("utf-8"))["ports"]
    return {str(port): f"{{{name} port}}" for name, port in ports.items()}
