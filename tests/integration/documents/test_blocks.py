"""Every code block of the documentation is run, or parsed by the program it is for."""

from __future__ import annotations

import configparser
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest
import yaml

from harness.stacks import ROOT, Stack
from invoke_stack.config import read_env_file
from tests.integration.documents.blocks import DOCUMENTS, Block, blocks, commands

BLOCKS = list(blocks())

# Commands with these prefixes are run by CI or by other tests.
RUN_ELSEWHERE = {
    'eval "$(tests/engine/setup.sh)"': ".ci/run",
    "python3 scripts/inv.py up": ".ci/run",
    "python3 scripts/inv.py restart-backend": ".ci/run",
    "python3 scripts/inv.py test": ".ci/run",
    "inv test --faults": "tests/faults/test_rows.py",
    "inv bench": "tests/integration/bench",
}
ENDLESS = {"docker compose logs -f backend"}
SHELLS = ("bash", "zsh", "fish")
LOAD_PROOF = "bench/capacity.py"  # takes five minutes and more
LONG = 5.0  # seconds after which an endless command has succeeded


def of(*languages: str) -> list[Block]:
    return [block for block in BLOCKS if block.language in languages]


def test_blocks_have_a_language_that_is_checked():
    kinds = ("sh", "console", "json", "yaml", "ini", "env", "python", "log")
    assert [str(block) for block in BLOCKS if block not in of(*kinds)] == []
    assert len(BLOCKS) > 10


def shell_blocks() -> list[object]:
    """Return the shell blocks; one with a load proof belongs to the matrix tier."""
    return [
        pytest.param(block, marks=pytest.mark.matrix if LOAD_PROOF in block.text else ())
        for block in of("sh")
    ]


@pytest.mark.parametrize("block", shell_blocks(), ids=str)
def test_shell_block_runs(block: Block, stack: Stack):
    """Runs on every runtime; blocks with `docker` only on compose."""
    if stack.runtime != "compose" and "docker " in block.text:
        pytest.skip("it needs Docker")
    if stack.runtime != "local" and ".local" in block.text:
        pytest.skip("it is for the local runtime")
    saved = {path: path.read_bytes() for path in [stack.root / ".env"] if path.exists()}
    # Variables that a reader sets in .env.
    variables = read_env_file(stack.root / ".env") if "docker " in block.text else {}
    variables = {name: value for name, value in variables.items() if value}
    try:
        for command, comment in commands(block):
            elsewhere = [
                path for prefix, path in RUN_ELSEWHERE.items() if command.startswith(prefix)
            ]
            if elsewhere:
                assert (ROOT / elsewhere[0]).exists()
                continue
            shell = comment if comment in SHELLS else "bash"
            if shutil.which(shell):
                run(stack, shell, command, variables)
    finally:
        for path, content in saved.items():
            path.write_bytes(content)


def run(stack: Stack, shell: str, command: str, variables: Mapping[str, str]) -> None:
    """Run a command of a document in the stack's checkout; it must succeed."""
    tools = os.pathsep.join([str(Path(sys.executable).parent), stack.environment["PATH"]])
    port = stack.environment.get("PORT", "8000")
    process = subprocess.Popen(
        [shell, "-c", command.replace("localhost:8000", f"localhost:{port}")],
        cwd=stack.root,
        env={**variables, **stack.environment, "PATH": tools},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if command in ENDLESS:
        with contextlib.suppress(subprocess.TimeoutExpired):
            raise AssertionError(process.communicate(timeout=LONG))
        process.terminate()
    output = process.communicate(timeout=900)[0]
    assert command in ENDLESS or process.returncode == 0, (command, output)


@pytest.mark.parametrize("block", of("console"), ids=str)
def test_transcript_is_what_the_verb_prints(block: Block):
    # Every line is in a golden file of the verb, except for numbers and lines left out (`…`).
    command, *output, exit_code = block.text.splitlines()
    assert command.endswith("; echo $?")
    assert exit_code.isdecimal()
    if not command.startswith("$ inv "):
        pytest.skip("another program's output")
    verb = re.split(r"[ ;]", command.removeprefix("$ inv "))[0]
    golden = {
        _skeleton(line)
        for path in (ROOT / "tests" / "golden" / "local").rglob(f"{verb}*.txt")
        for line in path.read_text("utf-8").splitlines()
    }
    assert [line for line in output if line.strip() != "…" and _skeleton(line) not in golden] == []


def _skeleton(line: str) -> str:
    """Return a line without its numbers, their placeholders and its alignment."""
    line = re.sub(r"\{[^{}]*\}|\d+(\.\d+)?", "#", line)
    return " ".join(line.replace("attempts", "attempt").split())


@pytest.mark.parametrize("block", of("json"), ids=str)
def test_json_block_has_the_keys_of_the_response(block: Block, stack: Stack):
    health = httpx.get(f"{stack.url()}/health", timeout=10).json()
    assert list(health) == list(json.loads(block.text))


@pytest.mark.parametrize("block", of("yaml"), ids=str)
def test_yaml_block_is_valid(block: Block, tmp_path: Path):
    assert yaml.load(re.sub(r"!reset\b", "", block.text), yaml.SafeLoader)


@pytest.mark.parametrize("block", of("ini"), ids=str)
def test_ini_block_is_valid(block: Block):
    parser = configparser.ConfigParser()
    parser.read_string(block.text)
    assert parser.sections()


@pytest.mark.parametrize("block", of("env"), ids=str)
def test_env_block_has_known_variables(block: Block, tmp_path: Path):
    (tmp_path / ".env").write_text(block.text, "utf-8")
    example = read_env_file(ROOT / ".env.example")
    assert read_env_file(tmp_path / ".env").keys() <= example.keys()


@pytest.mark.parametrize("block", of("python"), ids=str)
def test_python_block_runs(block: Block):
    exec(compile(block.text, str(block), "exec"), {"__file__": str(ROOT / "tasks.py")})


@pytest.mark.parametrize("block", of("log"), ids=str)
def test_log_block_has_lines_that_the_backend_writes(block: Block):
    sources = [*(ROOT / "backend" / "app").rglob("*.py"), ROOT / "backend" / "entrypoint.sh"]
    source = "".join(path.read_text("utf-8") for path in sources)
    for line in block.text.splitlines():
        message = line.removeprefix("[entrypoint] ").removeprefix("Watchdog: ")
        # Compare the text before the first value.
        assert re.split(r"\d|\(", message)[0].strip() in source, line


def test_links_point_to_existing_files():
    for document in DOCUMENTS:
        text = document.read_text("utf-8")
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            assert (document.parent / target).exists(), (document.name, target)
