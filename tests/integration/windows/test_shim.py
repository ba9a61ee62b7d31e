"""The PowerShell shim: syntax and parameters everywhere, exit code where PowerShell exists."""

import re
import shutil
import subprocess

import pytest
import tree_sitter
import tree_sitter_powershell

from harness.stacks import ROOT

SHIM = ROOT / "scripts" / "win" / "restart-backend.ps1"


def parse(text):
    language = tree_sitter.Language(tree_sitter_powershell.language())
    return tree_sitter.Parser(language).parse(text.encode()).root_node


def nodes(node, kind):
    """Yield the nodes of a kind in a syntax tree."""
    if node.type == kind:
        yield node
    for child in node.children:
        yield from nodes(child, kind)


def test_shim_is_valid_powershell():
    assert not parse(SHIM.read_text("utf-8")).has_error
    # The parser detects an error.
    assert parse("param([int]$TailLines = 50").has_error


def test_shim_keeps_its_parameters_and_defaults():
    parameters = {}
    for parameter in nodes(parse(SHIM.read_text("utf-8")), "script_parameter"):
        text = parameter.text.decode()
        [(kind, name, default)] = re.findall(r"\[(\w+)\]\$(\w+)(?:\s*=\s*(\S+))?", text)
        parameters[name] = (kind, default)
    assert parameters == {"Logs": ("switch", "$true"), "TailLines": ("int", "50")}


def test_shim_is_ascii():
    """Windows PowerShell reads scripts with the system code page."""
    assert SHIM.read_bytes().isascii()


def powershells():
    return [name for name in ("pwsh", "powershell") if shutil.which(name)]


@pytest.mark.skipif(not powershells(), reason="no PowerShell in PATH")
@pytest.mark.parametrize("shell", powershells())
def test_shim_passes_on_arguments_and_exit_code(shell):
    arguments = ["-NoProfile", "-ExecutionPolicy", "Bypass", "-File", str(SHIM), "-TailLines", "-1"]
    result = subprocess.run([shell, *arguments], capture_output=True, text=True, timeout=300)
    assert result.returncode == 2
    assert "invalid value '-1' for --tail" in result.stderr
