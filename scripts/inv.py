#!/usr/bin/env python3
"""Run `inv` with the given arguments, after creating or updating its `.venv` from the hashed locks.

Uses only the standard library, and runs with Python 3.11 and newer on Linux, macOS and Windows.
Stamp files in `.venv` record the locks and the Python that it was built with. If they differ, a new
environment is built beside it and replaces it once complete. If that fails, the old one is used.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
import venv
from pathlib import Path
from typing import BinaryIO

if os.name == "nt":
    import msvcrt
else:
    import fcntl

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
MUTEX = ROOT / ".venv.lock"
NEW, OLD = ".venv.new-", ".venv.old-"  # prefixes of new and replaced environments
LOCK = ROOT / "requirements.lock"
DEVELOPERS_LOCK = ROOT / "requirements-dev.lock"  # a superset of LOCK
DEVELOPERS_VERBS = {"test", "lint", "bench"}
TOOLKIT = "docker, filelock, httpx, invoke, rich"  # modules that every verb needs
RUNNING_STACK = ROOT / ".local" / "run" / "supervisord.pid"  # exists while a `local` stack runs
SYSTEM_PYTHON = getattr(sys, "_base_executable", sys.executable)  # also if .venv is activated


class Failure(Exception):
    """Arguments: what failed, how to fix it, and the last output lines of pip if pip failed."""


def main() -> int:
    """Update `.venv` and run `inv` in it; return the exit code."""
    if sys.version_info < (3, 11):
        say(f"Python 3.11 or newer is required, this is {sys.version.split()[0]}")
        say("  run the same command with a newer one, for example: python3.12 scripts/inv.py up")
        return 1
    try:
        update([LOCK, DEVELOPERS_LOCK] if DEVELOPERS_VERBS & set(sys.argv[1:]) else [LOCK])
    except Failure as failure:
        reason, hint, *output = failure.args
        if not can_run(VENV):
            say("\n  ".join([f".venv cannot be created: {reason}", *output, hint]))
            return 1
        say(f".venv cannot be updated: {': '.join([reason, *output[-1:]])}")
        say(f"  the old one is used; to update it, {hint}")
    os.chdir(ROOT)
    # The path as typed, with its symbolic links: Compose derives the project name from it.
    os.environ["PWD"] = os.path.normpath(Path(os.environ.get("PWD", ""), sys.argv[0], "../.."))
    command = [str(python(VENV)), "-m", "invoke", *sys.argv[1:]]
    if os.name != "nt":
        os.execv(command[0], command)  # the same process: signals and exit code are those of inv
    # inv handles Ctrl-C: it restores the terminal and sets the exit code.
    signal.signal(signal.SIGINT, lambda *_: None)
    return subprocess.call(command)


def update(locks: list[Path]) -> None:
    """Update `.venv` to the locks. Raises `Failure`, which leaves it unchanged."""
    is_current = is_installed(VENV, locks)
    if is_current and not leftovers(NEW) and not leftovers(OLD):
        return
    try:
        mutex = acquire_mutex(wait=not is_current)
        if mutex is None:  # the leftovers belong to a process that is still running
            return
        with mutex:
            finish_or_undo(locks)
            if not is_installed(VENV, locks):
                replace(locks)
    except (OSError, subprocess.CalledProcessError) as error:
        hint = "make the folder writable, stop what uses .venv, then run the same command again"
        raise Failure(str(error), hint) from None


def replace(locks: list[Path]) -> None:
    """Replace `.venv` by a new environment, with the developer tools if the old one has them."""
    if stamp(VENV, DEVELOPERS_LOCK).exists():
        locks = [LOCK, DEVELOPERS_LOCK]
    try:
        # A complete one exists if its renaming failed: Windows refuses that while .venv is in use.
        if not any(is_installed(folder, locks) for folder in leftovers(NEW)):
            build(ROOT / f"{NEW}{os.urandom(4).hex()}", locks)
        if os.path.lexists(VENV):
            VENV.rename(ROOT / f"{OLD}{os.urandom(4).hex()}")
    finally:
        finish_or_undo(locks)


def finish_or_undo(locks: list[Path]) -> None:
    """Finish a replacement if its new environment is complete, or undo it.

    Also recovers from a run that was killed at any step.
    """
    new, old = leftovers(NEW), leftovers(OLD)
    if not os.path.lexists(VENV):
        complete = [folder for folder in new if stamp(folder, LOCK).exists()]
        complete += [folder for folder in old if can_run(folder)]
        if complete:
            complete[0].rename(VENV)
    for folder in old:
        keep_servers(folder)
        remove(folder)
    for folder in new:
        if is_installed(VENV, locks) or not is_installed(folder, locks):
            remove(folder)


def keep_servers(old: Path) -> None:
    """Keep the servers of a running stack at their path, which contains the version of Python."""
    if RUNNING_STACK.exists() and not is_link(old):
        for libraries in old.glob("lib/python3.*"):
            path = VENV / "lib" / libraries.name
            if path.parent.is_dir() and not path.exists():
                libraries.rename(path)


def remove(folder: Path) -> None:
    """Delete an environment, or only the link if it is one. The next run retries a failure."""
    with contextlib.suppress(OSError):
        if is_link(folder):
            folder.unlink()
        else:
            python(folder).unlink(missing_ok=True)  # a half-deleted one must not look complete
            shutil.rmtree(folder)


def build(folder: Path, locks: list[Path]) -> None:
    """Build a complete environment that can replace `.venv`. Raises `Failure`."""
    start = time.monotonic()
    if not os.path.lexists(VENV):
        say("creating .venv (once, about half a minute)")
    stamps = [(stamp(folder, lock), fingerprint(lock)) for lock in locks]
    # Use this Python's own pip, if any: installing another one takes 2 s.
    has_pip = has_module("pip")
    if not has_pip and not has_module("ensurepip"):
        hint = "install them; on Debian and Ubuntu: apt install python3-venv"
        raise Failure("this Python has neither pip nor ensurepip", hint)
    venv.create(folder, with_pip=not has_pip, symlinks=os.name != "nt")
    if has_pip:
        pip = [SYSTEM_PYTHON, "-m", "pip", "--python", str(python(folder))]
    else:
        pip = [str(python(folder)), "-m", "pip"]
    install(pip, locks[-1])
    give_final_name(folder)
    for path, text in stamps:  # last, because they mark it as complete
        path.write_text(text)
    say(f".venv is ready after {time.monotonic() - start:.0f} s")


def install(pip: list[str], lock: Path) -> None:
    """Install a lock with a pip command. Raises `Failure`."""
    command = [*pip, "install", "--require-hashes", "--only-binary", ":all:", "-r", str(lock)]
    command += ["--disable-pip-version-check", "--progress-bar", "off"]
    # Most modules are never imported; Python compiles the others on import, if allowed to.
    command += [] if sys.dont_write_bytecode else ["--no-compile"]
    # Each retry takes seconds. If there is an old environment, retry in the next run instead.
    variables = ({"PIP_RETRIES": "1"} if os.path.lexists(VENV) else {}) | os.environ
    total = sum(line[0].isalnum() for line in lock.read_text().splitlines() if line)
    count, output = 0, []
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, **pipe, text=True, errors="replace", env=variables) as process:
        try:
            for line in filter(str.strip, process.stdout):
                output = [*output[-4:], line.rstrip()]
                if line.startswith("Collecting "):
                    count += 1
                    progress(
                        f".venv: {count} of at most {total}: {line.split()[1]}", count % 10 == 0
                    )
                elif line.startswith("Installing "):
                    progress(f".venv: installing {count} packages", is_milestone=True)
        except KeyboardInterrupt:
            if os.name != "nt":  # on Windows it got Ctrl-C too
                process.send_signal(signal.SIGINT)  # `pip --python` stops its child on this signal
            process.wait()
            raise
        finally:
            progress("")
    if process.returncode:
        raise Failure("pip failed", "check the network, then run the same command again", *output)


def give_final_name(folder: Path) -> None:
    """Point the scripts of an environment to `.venv`, where it will be moved, instead of `folder`.

    On Windows they are programs followed by an archive, which may move within the file.
    """
    for path in [folder / "pyvenv.cfg", *python(folder).parent.iterdir()]:
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        if folder.name.encode() in content:
            path.write_bytes(content.replace(folder.name.encode(), VENV.name.encode()))


def acquire_mutex(wait: bool) -> BinaryIO | None:
    """Return the locked mutex file. Until it is closed, no other process may change `.venv`.

    Returns None if another process holds it and `wait` is False.
    """
    file = MUTEX.open("ab")
    if not try_lock(file):
        if not wait:
            return None
        say("another process is updating .venv: waiting for it")
        while not try_lock(file):
            time.sleep(0.1)
    return file


def try_lock(file: BinaryIO) -> bool:
    """Return True if the file is now locked by this process. Its lock ends with the process."""
    try:
        if os.name == "nt":
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # Any other error means that the file system does not support locks.
        return not isinstance(error, BlockingIOError | PermissionError)
    return True


def leftovers(prefix: str) -> list[Path]:
    """Return the environments with a temporary name, of this run or of killed ones."""
    return sorted(ROOT.glob(f"{prefix}*"))


def python(folder: Path) -> Path:
    """Return the path of the Python of an environment."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def stamp(folder: Path, lock: Path) -> Path:
    """Return the path of the file that records which version of a lock is installed."""
    return folder / f"{lock.name}.sha256"


def fingerprint(lock: Path) -> str:
    """Return the content of the stamp for a lock: its checksum and the version of Python."""
    return hashlib.sha256(lock.read_bytes()).hexdigest() + " " + sys.version.split()[0]


def is_installed(folder: Path, locks: list[Path]) -> bool:
    """Return True if an environment is complete and up to date with the locks."""
    return python(folder).exists() and all(
        stamp(folder, lock).is_file() and stamp(folder, lock).read_text() == fingerprint(lock)
        for lock in locks
    )


def can_run(folder: Path) -> bool:
    """Return True if the Python of an environment starts and can import the toolkit's modules."""
    with contextlib.suppress(OSError):
        command = [str(python(folder)), "-c", f"import {TOOLKIT}"]
        return subprocess.run(command, capture_output=True).returncode == 0
    return False


def is_link(folder: Path) -> bool:
    """Return True for a symbolic link or a Windows junction."""
    return folder.resolve() != folder


def has_module(name: str) -> bool:
    """Return True if the system's Python can import a module."""
    return subprocess.call([SYSTEM_PYTHON, "-c", f"import {name}"], stderr=subprocess.DEVNULL) == 0


def say(text: str) -> None:
    """Print a message to stderr."""
    print(text, file=sys.stderr, flush=True)


def progress(text: str, is_milestone: bool = False) -> None:
    """Update the progress line on a terminal; print only milestones if stderr is not one."""
    if sys.stderr.isatty():
        width = shutil.get_terminal_size().columns - 1
        end = "" if text else "\r"
        print("\r" + text[:width].ljust(width), end=end, file=sys.stderr, flush=True)
    elif is_milestone:
        say(text)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
