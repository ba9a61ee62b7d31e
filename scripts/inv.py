#!/usr/bin/env python3
"""Run `inv` with the given arguments, from a `.venv` that is made of the hashed locks first.

Standard library only, for Python 3.11 and newer on Linux, macOS and Windows. Stamps in `.venv` name
the locks and the Python that it was made with. When they differ, a new environment is built beside
it and takes its place once it is complete. When that fails, the old one stays and is used.
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
NEW, OLD = ".venv.new-", ".venv.old-"  # prefixes of what becomes `.venv`, and of what it was
LOCK = ROOT / "requirements.lock"
DEVELOPERS_LOCK = ROOT / "requirements-dev.lock"  # all of LOCK, and more
DEVELOPERS_VERBS = {"test", "lint", "bench"}
TOOLKIT = "docker, filelock, httpx, invoke, rich"  # the modules that every verb needs
RUNNING_STACK = ROOT / ".local" / "run" / "supervisord.pid"  # exists while a `local` stack runs
SYSTEM_PYTHON = getattr(sys, "_base_executable", sys.executable)  # also when .venv is activated


class Failure(Exception):
    """Its arguments are what failed, how to fix it, and the last lines of pip if that failed."""


def main() -> int:
    if sys.version_info < (3, 11):
        say(f"this is Python {sys.version.split()[0]}; 3.11 or newer is needed")
        say("  run the same command with a newer one, such as: python3.12 scripts/inv.py up")
        return 1
    try:
        update([LOCK, DEVELOPERS_LOCK] if DEVELOPERS_VERBS & set(sys.argv[1:]) else [LOCK])
    except Failure as failure:
        reason, hint, *output = failure.args
        if not can_run(VENV):
            say("\n  ".join([f".venv cannot be made: {reason}", *output, hint]))
            return 1
        say(f".venv cannot be updated: {': '.join([reason, *output[-1:]])}")
        say(f"  the old one is used; to update it, {hint}")
    os.chdir(ROOT)
    # The path as it was typed, with its symbolic links: Compose names a project after it.
    os.environ["PWD"] = os.path.normpath(Path(os.environ.get("PWD", ""), sys.argv[0], "../.."))
    command = [str(python(VENV)), "-m", "invoke", *sys.argv[1:]]
    if os.name != "nt":
        os.execv(command[0], command)  # one process: signals and exit code are inv's own
    # Ctrl-C is for inv, which puts the terminal in order and says how it ended.
    signal.signal(signal.SIGINT, lambda *_: None)
    return subprocess.call(command)


def update(locks: list[Path]) -> None:
    """Make `.venv` hold what the locks name. Raises `Failure`, which leaves it as it was."""
    is_current = is_installed(VENV, locks)
    if is_current and not leftovers(NEW) and not leftovers(OLD):
        return
    try:
        mutex = take_mutex(wait=not is_current)
        if mutex is None:  # what seems left over belongs to another process
            return
        with mutex:
            settle(locks)
            if not is_installed(VENV, locks):
                replace(locks)
    except (OSError, subprocess.CalledProcessError) as error:
        hint = "make the folder writable, end what uses .venv, then run the same command again"
        raise Failure(str(error), hint) from None


def replace(locks: list[Path]) -> None:
    """Replace `.venv` by a new environment, with the developers' tools if the old one has them."""
    if stamp(VENV, DEVELOPERS_LOCK).exists():
        locks = [LOCK, DEVELOPERS_LOCK]
    try:
        # A complete one is there where the renaming failed: Windows refuses it for one in use.
        if not any(is_installed(folder, locks) for folder in leftovers(NEW)):
            build(ROOT / f"{NEW}{os.urandom(4).hex()}", locks)
        if os.path.lexists(VENV):
            VENV.rename(ROOT / f"{OLD}{os.urandom(4).hex()}")
    finally:
        settle(locks)


def settle(locks: list[Path]) -> None:
    """Finish a replacement whose new environment is complete, or undo it.

    The next run does this for one that was killed, at whatever step that was.
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
    """Keep a running stack's servers at their path, which names the version of Python."""
    if RUNNING_STACK.exists() and not is_link(old):
        for libraries in old.glob("lib/python3.*"):
            path = VENV / "lib" / libraries.name
            if path.parent.is_dir() and not path.exists():
                libraries.rename(path)


def remove(folder: Path) -> None:
    """Delete an environment; of a link to one, only the link. The next run tries again."""
    with contextlib.suppress(OSError):
        if is_link(folder):
            folder.unlink()
        else:
            python(folder).unlink(missing_ok=True)  # what is half deleted must not look complete
            shutil.rmtree(folder)


def build(folder: Path, locks: list[Path]) -> None:
    """Build a complete environment that can take the place of `.venv`. Raises `Failure`."""
    start = time.monotonic()
    if not os.path.lexists(VENV):
        say("making .venv (once; about half a minute)")
    stamps = [(stamp(folder, lock), fingerprint(lock)) for lock in locks]
    # This Python's own pip will do, if there is one: another one takes 2 s to install.
    has_pip = has_module("pip")
    if not has_pip and not has_module("ensurepip"):
        hint = "install them; on Debian and Ubuntu: apt install python3-venv"
        raise Failure("this Python comes without pip and ensurepip", hint)
    venv.create(folder, with_pip=not has_pip, symlinks=os.name != "nt")
    if has_pip:
        pip = [SYSTEM_PYTHON, "-m", "pip", "--python", str(python(folder))]
    else:
        pip = [str(python(folder)), "-m", "pip"]
    install(pip, locks[-1])
    give_final_name(folder)
    for path, text in stamps:  # they come last, since they mark it as complete
        path.write_text(text)
    say(f".venv is ready after {time.monotonic() - start:.0f} s")


def install(pip: list[str], lock: Path) -> None:
    """Install a lock with a pip command. Raises `Failure`."""
    command = [*pip, "install", "--require-hashes", "--only-binary", ":all:", "-r", str(lock)]
    command += ["--disable-pip-version-check", "--progress-bar", "off"]
    # Most modules are never imported; Python compiles the others when they are, if it may.
    command += [] if sys.dont_write_bytecode else ["--no-compile"]
    # With an old environment at hand the next run is the better retry: each one takes seconds.
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
            if os.name != "nt":  # there it got Ctrl-C too
                process.send_signal(signal.SIGINT)  # `pip --python` ends its own child at this one
            process.wait()
            raise
        finally:
            progress("")
    if process.returncode:
        raise Failure("pip failed", "check the network, then run the same command again", *output)


def give_final_name(folder: Path) -> None:
    """Make an environment's scripts name `.venv` as the folder that they are in.

    On Windows they are programs with an archive at their end, which may move within the file.
    """
    for path in [folder / "pyvenv.cfg", *python(folder).parent.iterdir()]:
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        if folder.name.encode() in content:
            path.write_bytes(content.replace(folder.name.encode(), VENV.name.encode()))


def take_mutex(wait: bool) -> BinaryIO | None:
    """Return an open file that lets one process at a time change `.venv`, until it is closed.

    Returns None if another process has it and the caller does not want to wait.
    """
    file = MUTEX.open("ab")
    if not try_mutex(file):
        if not wait:
            return None
        say("another process updates .venv: waiting for it")
        while not try_mutex(file):
            time.sleep(0.1)
    return file


def try_mutex(file: BinaryIO) -> bool:
    """Return True if this process has the file now; the kernel frees it if the process ends."""
    try:
        if os.name == "nt":
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # Any other error comes from a file system that has no locks.
        return not isinstance(error, BlockingIOError | PermissionError)
    return True


def leftovers(prefix: str) -> list[Path]:
    return sorted(ROOT.glob(f"{prefix}*"))


def python(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def stamp(folder: Path, lock: Path) -> Path:
    return folder / f"{lock.name}.sha256"


def fingerprint(lock: Path) -> str:
    """Return what the stamp of an installed lock says."""
    return hashlib.sha256(lock.read_bytes()).hexdigest() + " " + sys.version.split()[0]


def is_installed(folder: Path, locks: list[Path]) -> bool:
    return python(folder).exists() and all(
        stamp(folder, lock).is_file() and stamp(folder, lock).read_text() == fingerprint(lock)
        for lock in locks
    )


def can_run(folder: Path) -> bool:
    """Return True if the Python of an environment starts and has the toolkit's modules."""
    with contextlib.suppress(OSError):
        command = [str(python(folder)), "-c", f"import {TOOLKIT}"]
        return subprocess.run(command, capture_output=True).returncode == 0
    return False


def is_link(folder: Path) -> bool:
    return folder.resolve() != folder  # also a junction of Windows


def has_module(name: str) -> bool:
    return subprocess.call([SYSTEM_PYTHON, "-c", f"import {name}"], stderr=subprocess.DEVNULL) == 0


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def progress(text: str, is_milestone: bool = False) -> None:
    """Show a line that changes on a terminal; elsewhere only milestones are shown."""
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
