"""The toolkit stays portable to Windows and macOS, as far as Linux can test it."""

import ast
import os
import subprocess
import sys

import pytest

from harness.stacks import ROOT

POSIX_MODULES = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
POSIX_NAMES = {
    "os": {
        *("chown", "fork", "forkpty", "getegid", "geteuid", "getgid", "getloadavg", "getpgid"),
        *("getuid", "kill", "killpg", "lchown", "mkfifo", "nice", "setpgid", "setsid", "statvfs"),
        *("sysconf", "uname", "wait", "WEXITSTATUS"),
    },
    "signal": {
        *("SIGALRM", "SIGCHLD", "SIGCONT", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGSTOP", "SIGTSTP"),
        *("SIGUSR1", "SIGUSR2", "SIGWINCH", "alarm", "pause", "pthread_kill", "setitimer"),
    },
    "socket": {"AF_UNIX", "socketpair"},
}


def posix_names(tree):
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=module), attr=name):
                if name in POSIX_NAMES.get(module, ()):
                    yield f"{module}.{name}"


def portable_modules():
    local = ROOT / "invoke_stack" / "runtimes" / "local"
    return [
        path for path in sorted((ROOT / "invoke_stack").rglob("*.py")) if local not in path.parents
    ]


@pytest.mark.parametrize("path", portable_modules(), ids=lambda path: path.stem)
def test_posix_names_are_used_only_by_the_local_runtime(path):
    text = path.read_text("utf-8")
    for name in posix_names(ast.parse(text)):
        module, _, attribute = name.partition(".")
        guard = f'hasattr({module}, "{attribute}")'
        assert guard in text or 'os.name != "nt"' in text, (
            f"{path.name} uses {name} without a guard: {guard}"
        )


def test_toolkit_can_be_imported_without_posix_modules():
    """On Windows the local runtime is imported too, for the message that it does not exist there."""
    collector = "invoke_stack.runtimes.local.collector"  # a separate program, never imported there
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted((ROOT / "invoke_stack").rglob("*.py"))
    ]
    code = f"""
import importlib, sys
import invoke.main, docker, rich.console, rich.text, requests, psutil, subprocess  # these handle Windows themselves
for name in {sorted(POSIX_MODULES)}:
    sys.modules[name] = None
for name in {[name for name in modules if name != collector]}:
    importlib.import_module(name)
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("encoding", ["cp1252", "cp437", "ascii"])
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--help", "logs"), "inv logs [SERVICE,…]"),
        (("health", "--url", "http://127.0.0.1:1"), "✗ backend is unreachable"),
        (("status", "--runtime", "мир"), "invalid value 'мир' for --runtime"),
    ],
    ids=["help", "a screen", "an error"],
)
def test_output_is_utf8_on_an_old_console(encoding, arguments, expected):
    result = subprocess.run(
        [sys.executable, "-m", "invoke", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
        capture_output=True,
    )
    assert expected in (result.stdout + result.stderr).decode("utf-8")
    assert b"Traceback" not in result.stderr


def test_keyboard_reads_keys_of_a_windows_console():
    code = """
import sys, types
console = types.ModuleType("msvcrt")
waiting = ["q"]
console.kbhit = lambda: bool(waiting)
console.getwch = lambda: waiting.pop()
sys.modules["msvcrt"] = console
sys.platform = "win32"
sys.stdin = types.SimpleNamespace(isatty=lambda: True)
from invoke_stack.cli.keys import keyboard
with keyboard() as read_key:
    assert (read_key(5), read_key(0.1)) == ("q", "")
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
