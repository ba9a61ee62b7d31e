#!/usr/bin/env python3
"""Runs `inv` with the words that it was given; makes `.venv` from the hashed locks first.

Standard library only, for Python 3.11 and newer on Linux, macOS and Windows. The `.venv` is made
once: a stamp of the lock and of the Python that made it decides. What the developers' own verbs
need comes on top when one of them is asked for.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
LOCK = ROOT / "requirements.lock"
DEVELOPERS_LOCK = ROOT / "requirements-dev.lock"  # all of LOCK, and more
DEVELOPERS_VERBS = {"test", "lint", "bench"}
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
SYSTEM_PYTHON = getattr(sys, "_base_executable", sys.executable)  # also when .venv is activated


def main() -> int:
    if sys.version_info < (3, 11):
        return fail(
            f"this is Python {sys.version.split()[0]}; 3.11 or newer is needed",
            "run the same command with a newer one, such as: python3.12 scripts/inv.py up",
        )
    locks = [LOCK, DEVELOPERS_LOCK] if DEVELOPERS_VERBS & set(sys.argv[1:]) else [LOCK]
    if not (PYTHON.exists() and is_installed(LOCK)):
        problem = make(locks[-1]) or stamp(*locks)
    elif not is_installed(locks[-1]):
        say("adding the developers' tools to .venv (once)")
        problem = install(locks[-1], time.monotonic()) or stamp(locks[-1])
    else:
        problem = 0
    if problem:
        return problem
    os.chdir(ROOT)
    # The path as it was typed, with its symbolic links: Compose names a project after it.
    os.environ["PWD"] = os.path.normpath(Path(os.environ.get("PWD", ""), sys.argv[0], "../.."))
    command = [str(PYTHON), "-m", "invoke", *sys.argv[1:]]
    if os.name != "nt":
        os.execv(command[0], command)  # one process: signals and exit code are inv's own
    # Ctrl-C is for inv, which puts the terminal in order and says how it ended.
    signal.signal(signal.SIGINT, lambda *_: None)
    return subprocess.call(command)


def wanted(lock: Path) -> str:
    """What the stamp of an installed lock says."""
    return hashlib.sha256(lock.read_bytes()).hexdigest() + " " + sys.version.split()[0]


def is_installed(lock: Path) -> bool:
    path = VENV / f"{lock.name}.sha256"
    return path.is_file() and path.read_text() == wanted(lock)


def stamp(*locks: Path) -> int:
    for lock in locks:
        (VENV / f"{lock.name}.sha256").write_text(wanted(lock))
    return 0


def make(lock: Path) -> int:
    """Make `.venv` from a lock; 0, or the exit code after telling what went wrong."""
    begin = time.monotonic()
    say("making .venv (once; about half a minute)")
    shutil.rmtree(VENV, ignore_errors=True)
    try:
        # This Python's own pip will do, if there is one: another one takes 2 s to install.
        with_pip = not has_module("pip") and has_module("ensurepip")
        venv.create(VENV, with_pip=with_pip, symlinks=os.name != "nt")
    except (OSError, subprocess.CalledProcessError) as error:
        shutil.rmtree(VENV, ignore_errors=True)
        return fail(f".venv cannot be made: {error}", "free the folder, then try again")
    problem = install(lock, begin)
    if problem:
        shutil.rmtree(VENV, ignore_errors=True)
    return problem


def install(lock: Path, begin: float) -> int:
    """Install a lock into `.venv`; 0, or the exit code after telling what went wrong."""
    if has_module("pip"):
        pip = [SYSTEM_PYTHON, "-m", "pip", "--python", str(PYTHON)]
    elif has_module("ensurepip"):
        pip = [str(PYTHON), "-m", "pip"]
    else:
        return fail(
            "this Python comes without pip and ensurepip",
            "install them; on Debian and Ubuntu: apt install python3-venv",
        )
    command = [*pip, "install", "--require-hashes", "--only-binary", ":all:", "-r", str(lock)]
    command += ["--disable-pip-version-check", "--progress-bar", "off"]
    # Most modules are never imported; Python compiles the others when they are, if it may.
    command += [] if sys.dont_write_bytecode else ["--no-compile"]
    count, last = 0, []
    total = sum(line[0].isalnum() for line in lock.read_text().splitlines() if line)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        try:
            for line in process.stdout:
                last = [*last[-4:], line.rstrip()]
                if line.startswith("Collecting "):
                    count += 1
                    progress(f"  {count} of at most {total}: {line.split()[1]}")
                elif line.startswith("Installing "):
                    progress(
                        f"  installing {count} packages, {time.monotonic() - begin:.0f} s so far"
                    )
        except KeyboardInterrupt:
            process.terminate()
            progress("")
            return 130
    progress("")
    if process.returncode:
        return fail("pip failed:\n  " + "\n  ".join(last), "check the network, then try again")
    say(f".venv is ready after {time.monotonic() - begin:.0f} s")
    return 0


def has_module(name: str) -> bool:
    return subprocess.call([SYSTEM_PYTHON, "-c", f"import {name}"], stderr=subprocess.DEVNULL) == 0


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def progress(text: str) -> None:
    """One line that changes on a terminal; elsewhere only every tenth."""
    if sys.stderr.isatty():
        width = shutil.get_terminal_size().columns - 1
        print(
            "\r" + text[:width].ljust(width),
            end="\r" if not text else "",
            file=sys.stderr,
            flush=True,
        )
    elif text and (" 0 of" not in text) and (text.split()[0].endswith("0") or "installing" in text):
        say(text)


def fail(what: str, now: str) -> int:
    say(f"{what}\n  {now}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
