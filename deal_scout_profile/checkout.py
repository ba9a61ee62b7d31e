"""Checks of the files in the checkout: the entrypoint and the migrations."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from invoke_stack.judge.checks.services import without_build
from invoke_stack.model import Finding
from invoke_stack.profile import MainService
from invoke_stack.profile.facts import Facts, Skipped

ENTRYPOINT = "backend/entrypoint.sh"


@dataclass(frozen=True)
class Script:
    """The entrypoint as it is in the checkout."""

    has_crlf: bool
    is_executable: bool


def read_entrypoint(backend: MainService) -> Script:
    """Look at the entrypoint. Raises `Skipped` if there is none."""
    path = backend.root / ENTRYPOINT
    try:
        has_crlf = b"\r\n" in path.read_bytes()
    except FileNotFoundError:
        raise Skipped(f"{path} does not exist") from None
    return Script(has_crlf, os.name == "nt" or os.access(path, os.X_OK))


def read_revisions(backend: MainService) -> dict[str, str]:
    """Return the text of each file in alembic/versions, by its name."""
    files = sorted((backend.root / "alembic" / "versions").glob("*.py"))
    return {path.name: path.read_text("utf-8", "replace") for path in files}


def entrypoint(facts: Facts) -> Iterator[Finding]:
    """No Windows checkout has spoilt the entrypoint."""
    script: Script = facts.extra["script"].result()
    if script.has_crlf:
        evidence = ('a shell takes the CR for a part of the word: "no such file or directory"',)
        remedy = f"rm {ENTRYPOINT}; git checkout -- {ENTRYPOINT}"
        yield Finding(f"{ENTRYPOINT} has the line ends of Windows (CRLF)", evidence, remedy)
    if not script.is_executable:
        yield Finding(
            f"{ENTRYPOINT} has lost its executable bit",
            ("the image restores it; what mounts the checkout does not",),
            f"chmod +x {ENTRYPOINT}",
        )


@dataclass(frozen=True)
class Revision:
    """What a file in alembic/versions says of itself."""

    file: str
    name: str
    parents: tuple[str, ...]


def revisions(facts: Facts) -> Iterator[Finding]:
    """The migrations can be read, and lead to one head."""
    found: dict[str, Revision] = {}
    files: Mapping[str, str] = facts.extra["revisions"].result()
    if not files:
        yield Finding("alembic/versions holds no migrations", (), "git checkout -- alembic")
    for file, text in files.items():
        try:
            revision = read(file, text)
        except SyntaxError as error:
            what = f"alembic/versions/{file} cannot be read"
            evidence = (f"line {error.lineno}: {error.msg}",)
            yield Finding(what, evidence, "mend it; no migration runs until then")
            continue
        if revision is None:
            what = f"alembic/versions/{file} names no revision"
            yield Finding(what, (), 'add: revision = "…" and down_revision = "…"')
        elif revision.name in found:
            evidence = (f"{found[revision.name].file}, {file}",)
            what = f"two migrations have the name {revision.name}"
            yield Finding(what, evidence, "give one of them another revision")
        else:
            found[revision.name] = revision
    for revision in found.values():
        for parent in revision.parents:
            if parent not in found and len(found) == len(files):
                yield Finding(
                    f"the revision {parent} is missing",
                    (f"alembic/versions/{revision.file} builds on it",),
                    "restore its file, or correct down_revision",
                )
    if len(last := heads(found)) > 1 and len(found) == len(files):
        yield Finding(
            f"the migrations have {len(last)} heads: {', '.join(last)}",
            ("`alembic upgrade head` does not know which to take, and applies none",),
            without_build(
                facts, "join them: alembic merge heads -m join --rev-id NAME, then: inv up --build"
            ),
        )


def heads(found: Mapping[str, Revision]) -> list[str]:
    """The revisions that no other builds on."""
    parents = {parent for revision in found.values() for parent in revision.parents}
    return [name for name in found if name not in parents]


def read(file: str, text: str) -> Revision | None:
    """A migration's names, without running it; None when it has none. Raises `SyntaxError`."""
    values: dict[str, object] = {}
    for node in ast.parse(text, file).body:
        if isinstance(node, ast.Assign):
            targets: list[ast.expr] = node.targets
        elif isinstance(node, ast.AnnAssign):
            targets = [node.target]
        else:
            continue
        value = _literal(node.value) if node.value else None
        for target in targets:
            if isinstance(target, ast.Name):
                values[target.id] = value
            elif isinstance(target, ast.Tuple) and isinstance(value, tuple):
                pairs = zip(target.elts, value, strict=False)
                values |= {each.id: part for each, part in pairs if isinstance(each, ast.Name)}
    name, parents = values.get("revision"), values.get("down_revision")
    if not isinstance(name, str):
        return None
    listed = [parents] if isinstance(parents, str) else parents or ()
    return Revision(file, name, tuple(listed) if isinstance(listed, (list, tuple)) else ())


def _literal(node: ast.expr) -> object:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None
