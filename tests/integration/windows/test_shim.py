"""The PowerShell shim: its syntax and its parameters everywhere, its exit code where it can run."""

import re
import shutil
import subprocess

import pytest
import tree_sitter
import tree_sitter_powershell

from harness.stacks import ROOT

SHIM = ROOT / "scripts" / "win" / "restart-backend.ps1"


def parsed(text):
    language = tree_sitter.Language(tree_sitter_powershell.language())
    return tree_sitter.Parser(language).parse(text.encode()).root_node


def nodes(node, kind):
    if node.type == kind:
        yield node
    for child in node.children:
        yield from nodes(child, kind)


def test_it_is_powershell():
    assert not parsed(SHIM.read_text("utf-8")).has_error
    # And the parser would have noticed.
    assert parsed("param([int]$TailLines = 50").has_error


def test_it_has_the_parameters_and_defaults_of_old():
    found = {}
    for parameter in nodes(parsed(SHIM.read_text("utf-8")), "script_parameter"):
        text = parameter.text.decode()
        [(kind, name, default)] = re.findall(r"\[(\w+)\]\$(\w+)(?:\s*=\s*(\S+))?", text)
        found[name] = (kind, default)
    assert found == {"Logs": ("switch", "$true"), "TailLines": ("int", "50")}


def test_it_is_ascii_because_windows_powershell_reads_files_by_its_code_page():
    assert SHIM.read_bytes().isascii()


def powershells():
    return [name for name in ("pwsh", "powershell") if shutil.which(name)]


@pytest.mark.skipif(not powershells(), reason="there is no PowerShell here")
@pytest.mark.parametrize("shell", powershells())
def test_it_passes_words_and_exit_code_on(shell):
    words = ["-NoProfile", "-ExecutionPolicy", "Bypass", "-File", str(SHIM), "-TailLines", "-1"]
    result = subprocess.run([shell, *words], capture_output=True, text=True, timeout=300)
    assert result.returncode == 2
    assert "invalid value '-1' for --tail" in result.stderr
