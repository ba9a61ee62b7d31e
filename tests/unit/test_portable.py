"""What keeps the toolkit running on Windows and macOS, seen from Linux."""

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
def test_only_the_local_runtime_calls_what_windows_lacks(path):
    text = path.read_text("utf-8")
    for name in posix_names(ast.parse(text)):
        module, _, attribute = name.partition(".")
        guard = f'hasattr({module}, "{attribute}")'
        assert guard in text or 'os.name != "nt"' in text, (
            f"{path.name} uses {name} without asking: {guard}"
        )


def test_everything_can_be_imported_where_posix_is_not():
    """On Windows the local runtime is imported too, to say that it does not exist there."""
    collector = (
        "invoke_stack.runtimes.local.collector"  # a program of its own, never imported there
    )
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted((ROOT / "invoke_stack").rglob("*.py"))
    ]
    code = f"""
import importlib, sys
import invoke.main, docker, rich.console, rich.text, requests, psutil, subprocess  # they have their own ways
for name in {sorted(POSIX_MODULES)}:
    sys.modules[name] = None
for name in {[name for name in modules if name != collector]}:
    importlib.import_module(name)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("encoding", ["cp1252", "cp437", "ascii"])
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--help", "logs"), "inv logs [SERVICE,…]"),
        (("health", "--url", "http://127.0.0.1:1"), "✗ backend is unreachable"),
        (("status", "--runtime", "мир"), "invalid value 'мир' for --runtime"),
    ],
    ids=["help", "a screen", "an error"],
)
def test_an_old_console_gets_utf8(encoding, words, told):
    done = subprocess.run(
        [sys.executable, "-m", "invoke", *words],
        cwd=ROOT,
        env=os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
        capture_output=True,
    )
    assert told in (done.stdout + done.stderr).decode("utf-8")
    assert b"Traceback" not in done.stderr


def test_keys_of_a_windows_console():
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
with keyboard() as pressed:
    assert (pressed(5), pressed(0.1)) == ("q", "")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
