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
    """The properties of the entrypoint in the checkout."""

    has_crlf: bool
    is_executable: bool


def read_entrypoint(backend: MainService) -> Script:
    """Return the properties of the entrypoint. Raises `Skipped` if it does not exist."""
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
    """Find an entrypoint that has CRLF line endings or is not executable."""
    script: Script = facts.extra["script"].result()
    if script.has_crlf:
        evidence = ('the shell reads the CR as part of the word: "no such file or directory"',)
        remedy = f"rm {ENTRYPOINT}; git checkout -- {ENTRYPOINT}"
        yield Finding(f"{ENTRYPOINT} has Windows line endings (CRLF)", evidence, remedy)
    if not script.is_executable:
        yield Finding(
            f"{ENTRYPOINT} has lost its executable bit",
            ("the image restores it; a mounted checkout does not",),
            f"chmod +x {ENTRYPOINT}",
        )


@dataclass(frozen=True)
class Revision:
    """The identifiers in one file of alembic/versions."""

    file: str
    name: str
    parents: tuple[str, ...]


def revisions(facts: Facts) -> Iterator[Finding]:
    """Find migrations that are invalid, or that do not lead to exactly one head."""
    by_name: dict[str, Revision] = {}
    files: Mapping[str, str] = facts.extra["revisions"].result()
    if not files:
        yield Finding("alembic/versions has no migrations", (), "git checkout -- alembic")
    for file, text in files.items():
        try:
            revision = parse_revision(file, text)
        except SyntaxError as error:
            what = f"alembic/versions/{file} has a syntax error"
            evidence = (f"line {error.lineno}: {error.msg}",)
            yield Finding(what, evidence, "fix it; no migration runs until then")
            continue
        if revision is None:
            what = f"alembic/versions/{file} has no revision"
            yield Finding(what, (), 'add: revision = "…" and down_revision = "…"')
        elif revision.name in by_name:
            evidence = (f"{by_name[revision.name].file}, {file}",)
            what = f"two migrations have the revision {revision.name}"
            yield Finding(what, evidence, "give one of them another revision")
        else:
            by_name[revision.name] = revision
    for revision in by_name.values():
        for parent in revision.parents:
            if parent not in by_name and len(by_name) == len(files):
                yield Finding(
                    f"revision {parent} is missing",
                    (f"alembic/versions/{revision.file} depends on it",),
                    "restore its file, or correct down_revision",
                )
    if len(names := heads(by_name)) > 1 and len(by_name) == len(files):
        yield Finding(
            f"the migrations have {len(names)} heads: {', '.join(names)}",
            ("`alembic upgrade head` cannot choose one, and applies none",),
            without_build(
                facts, "merge them: alembic merge heads -m join --rev-id NAME, then: inv up --build"
            ),
        )


def heads(revisions: Mapping[str, Revision]) -> list[str]:
    """Return the names of the revisions that no other revision depends on."""
    parents = {parent for revision in revisions.values() for parent in revision.parents}
    return [name for name in revisions if name not in parents]


def parse_revision(file: str, text: str) -> Revision | None:
    """Return the Revision in a file's text without running it; None if there is none.

    Raises `SyntaxError`.
    """
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
                values |= {
                    element.id: part for element, part in pairs if isinstance(element, ast.Name)
                }
    name, parents = values.get("revision"), values.get("down_revision")
    if not isinstance(name, str):
        return None
    names = [parents] if isinstance(parents, str) else parents or ()
    return Revision(file, name, tuple(names) if isinstance(names, (list, tuple)) else ())


def _literal(node: ast.expr) -> object:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None
