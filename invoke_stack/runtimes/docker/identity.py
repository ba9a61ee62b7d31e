"""Which checkout a Compose project belongs to: the rules for its folder and its derived name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from invoke_stack.errors import OtherCheckout


def unresolved(root: Path, environ: Mapping[str, str]) -> Path:
    """Return the path by which the shell reached `root`, with its symbolic links, as Compose does.

    That is `$PWD` or one of its parents. Without a `$PWD` that is the working directory: `root`.
    """
    here = Path(environ.get("PWD", ""))
    if not here.is_absolute() or not is_same_folder(here, Path.cwd()):
        return root
    return next((folder for folder in (here, *here.parents) if is_same_folder(folder, root)), root)


def is_same_folder(one: Path, other: Path) -> bool:
    """Return True if both are the same path, or lead to the same folder of this machine."""
    try:
        return one == other or one.samefile(other)
    except OSError:
        return False


def other_folders(folders: Iterable[str], own: Path) -> list[str]:
    """Return those of `folders` that are not `own`; an empty one is unknown and left out."""
    return [
        folder
        for folder in dict.fromkeys(folders)
        if folder and not is_same_folder(Path(folder), own)
    ]


def refusal(name: str, folders: Iterable[str], *, is_engine_here: bool) -> OtherCheckout:
    """Return the error for a project whose containers were started in these other folders."""
    listed = list(folders)
    existing = [folder for folder in listed if not (is_engine_here and _is_gone(folder))]
    if existing:
        return OtherCheckout(
            f"the project {name!r} belongs to another checkout: {existing[0]}",
            f"run it there, or give this one its own name in .env: {setting(another(name))}",
        )
    return OtherCheckout(
        f"the project {name!r} was started in {listed[0]}, which no longer exists: "
        "this checkout was moved",
        f"to keep its containers and data, add this line to .env: {setting(name)}",
    )


def _is_gone(folder: str) -> bool:
    try:
        return not Path(folder).is_dir()
    except PermissionError:  # another user's
        return False


def setting(name: str) -> str:
    """Return the line of `.env` that gives a project this name."""
    return f"COMPOSE_PROJECT_NAME={name}"


def another(name: str) -> str:
    """Return a name for a second checkout."""
    return f"{name}-2"


def is_started_by(record: Path, name: str, folder: Path) -> bool:
    """Return True if this checkout has started the project, as noted by `note_start`."""
    try:
        return record.read_text("utf-8").splitlines() == [name, str(folder)]
    except OSError:
        return False


def note_start(record: Path, name: str, folder: Path) -> None:
    """Note that this checkout starts the project; a copy of the checkout is another folder."""
    record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    record.touch(mode=0o600)
    record.write_text(f"{name}\n{folder}\n", "utf-8")
