"""Every code block of the documentation is run, or read by what it is written for."""

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

# What begins with these is run by something else in CI, or by its own tests.
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
LONG = 5.0  # seconds after which an endless command is content


def of(*languages: str) -> list[Block]:
    return [block for block in BLOCKS if block.language in languages]


def test_every_block_is_of_a_kind_that_is_checked():
    kinds = ("sh", "console", "json", "yaml", "ini", "env", "python", "log")
    assert [str(block) for block in BLOCKS if block not in of(*kinds)] == []
    assert len(BLOCKS) > 10


def shell_blocks() -> list[object]:
    """Return the shell blocks; the one with a load proof is for the matrix tier."""
    return [
        pytest.param(block, marks=pytest.mark.matrix if LOAD_PROOF in block.text else ())
        for block in of("sh")
    ]


@pytest.mark.parametrize("block", shell_blocks(), ids=str)
def test_shell(block: Block, stack: Stack):
    """On every runtime; what is Docker's own, on the one that uses it."""
    if stack.runtime != "compose" and "docker " in block.text:
        pytest.skip("it needs Docker")
    if stack.runtime != "local" and ".local" in block.text:
        pytest.skip("it is for the local runtime")
    kept = {path: path.read_bytes() for path in [stack.root / ".env"] if path.exists()}
    # What a reader fills in stands in the variables here.
    filled = read_env_file(stack.root / ".env") if "docker " in block.text else {}
    filled = {name: value for name, value in filled.items() if value}
    try:
        for command, remark in commands(block):
            elsewhere = [
                place for words, place in RUN_ELSEWHERE.items() if command.startswith(words)
            ]
            if elsewhere:
                assert (ROOT / elsewhere[0]).exists()
                continue
            shell = remark if remark in SHELLS else "bash"
            if shutil.which(shell):
                run(stack, shell, command, filled)
    finally:
        for path, content in kept.items():
            path.write_bytes(content)


def run(stack: Stack, shell: str, command: str, filled: Mapping[str, str]) -> None:
    tools = os.pathsep.join([str(Path(sys.executable).parent), stack.environment["PATH"]])
    port = stack.environment.get("PORT", "8000")
    process = subprocess.Popen(
        [shell, "-c", command.replace("localhost:8000", f"localhost:{port}")],
        cwd=stack.root,
        env={**filled, **stack.environment, "PATH": tools},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if command in ENDLESS:
        with contextlib.suppress(subprocess.TimeoutExpired):
            raise AssertionError(process.communicate(timeout=LONG))
        process.terminate()
    said = process.communicate(timeout=900)[0]
    assert command in ENDLESS or process.returncode == 0, (command, said)


@pytest.mark.parametrize("block", of("console"), ids=str)
def test_transcript_is_what_the_verb_prints(block: Block):
    """Every line is in the verb's golden file, except for numbers and lines left out (`…`)."""
    command, *output, _exit_code = block.text.splitlines()
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
def test_an_answer_has_the_keys_that_are_shown(block: Block, stack: Stack):
    told = httpx.get(f"{stack.url()}/health", timeout=10).json()
    assert list(told) == list(json.loads(block.text))


@pytest.mark.parametrize("block", of("yaml"), ids=str)
def test_yaml(block: Block, tmp_path: Path):
    assert yaml.load(re.sub(r"!reset\b", "", block.text), yaml.SafeLoader)


@pytest.mark.parametrize("block", of("ini"), ids=str)
def test_ini(block: Block):
    parser = configparser.ConfigParser()
    parser.read_string(block.text)
    assert parser.sections()


@pytest.mark.parametrize("block", of("env"), ids=str)
def test_lines_of_an_env_file(block: Block, tmp_path: Path):
    (tmp_path / ".env").write_text(block.text, "utf-8")
    known = read_env_file(ROOT / ".env.example")
    assert read_env_file(tmp_path / ".env").keys() <= known.keys()


@pytest.mark.parametrize("block", of("python"), ids=str)
def test_python(block: Block):
    exec(compile(block.text, str(block), "exec"), {"__file__": str(ROOT / "tasks.py")})


@pytest.mark.parametrize("block", of("log"), ids=str)
def test_log_lines_are_those_that_the_backend_writes(block: Block):
    sources = [*(ROOT / "backend" / "app").rglob("*.py"), ROOT / "backend" / "entrypoint.sh"]
    written = "".join(path.read_text("utf-8") for path in sources)
    for line in block.text.splitlines():
        words = line.removeprefix("[entrypoint] ").removeprefix("Watchdog: ")
        # The words before the first value.
        assert re.split(r"\d|\(", words)[0].strip() in written, line


def test_every_link_leads_somewhere():
    for document in DOCUMENTS:
        text = document.read_text("utf-8")
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            assert (document.parent / target).exists(), (document.name, target)
