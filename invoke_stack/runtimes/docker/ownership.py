"""Decides which checkout a Compose project belongs to, from its folder and its name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from invoke_stack.errors import OtherCheckout


def unresolved_root(root: Path, environ: Mapping[str, str]) -> Path:
    """Return `root` with the symbolic links of the shell's path to it, as Compose does.

    That is `$PWD` or one of its parents; `root` itself if `$PWD` is not the working directory.
    """
    pwd = Path(environ.get("PWD", ""))
    if not pwd.is_absolute() or not is_same_folder(pwd, Path.cwd()):
        return root
    return next((folder for folder in (pwd, *pwd.parents) if is_same_folder(folder, root)), root)


def is_same_folder(one: Path, other: Path) -> bool:
    """Return True if both paths are equal, or lead to the same folder of this machine."""
    try:
        return one == other or one.samefile(other)
    except OSError:
        return False


def other_folders(folders: Iterable[str], own: Path) -> list[str]:
    """Return the folders that are not `own`; empty ones are unknown and left out."""
    return [
        folder
        for folder in dict.fromkeys(folders)
        if folder and not is_same_folder(Path(folder), own)
    ]


def other_checkout_error(
    name: str, folders: Sequence[str], *, is_engine_here: bool
) -> OtherCheckout:
    """Return the error for a project whose containers were started in these other folders."""
    existing = [folder for folder in folders if not (is_engine_here and _is_missing(folder))]
    if existing:
        return OtherCheckout(
            f"the project {name!r} belongs to another checkout: {existing[0]}",
            f"run inv there, or set another name in .env: {env_line(alternative_name(name))}",
        )
    return OtherCheckout(
        f"the project {name!r} was started in {folders[0]}, which no longer exists: "
        "this checkout was moved",
        f"to keep its containers and data, add this line to .env: {env_line(name)}",
    )


def _is_missing(folder: str) -> bool:
    try:
        return not Path(folder).is_dir()
    except PermissionError:  # the folder of another user
        return False


def env_line(name: str) -> str:
    """Return the line of `.env` that sets the project's name."""
    return f"COMPOSE_PROJECT_NAME={name}"


def alternative_name(name: str) -> str:
    """Return a name for a second checkout."""
    return f"{name}-2"


def has_started(record: Path, name: str, folder: Path) -> bool:
    """Return True if this checkout has started the project, according to its record."""
    try:
        return record.read_text("utf-8").splitlines() == [name, str(folder)]
    except OSError:
        return False


def record_start(record: Path, name: str, folder: Path) -> None:
    """Record that this checkout starts the project; a copy of the checkout has another folder."""
    record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    record.touch(mode=0o600)
    record.write_text(f"{name}\n{folder}\n", "utf-8")
