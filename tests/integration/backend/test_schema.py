"""The comparison of the database's revision with the scripts, and its command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from app.health.schema import Schema, Scripts, compare

from harness import servers
from tests.integration.backend import processes

LINE = Scripts(
    {"a": frozenset(), "b": frozenset("a"), "c": frozenset("ab")},
    ("c",),
)
FORK = Scripts(
    {"a": frozenset(), "b": frozenset("a"), "c": frozenset("a")},
    ("b", "c"),
)
ALL = ["0001_deals", "0002_deals_checks", "0003_deals_newest"]


@pytest.mark.parametrize(
    ("scripts", "current", "expected"),
    [
        (LINE, (), Schema((), ("c",), ("a", "b", "c"))),
        (LINE, ("a",), Schema(("a",), ("c",), ("b", "c"))),
        (LINE, ("c",), Schema(("c",), ("c",), ())),
        (LINE, ("z",), Schema(("z",), ("c",), (), ahead=True)),
        (LINE, None, Schema(None, ("c",), None)),
        (FORK, ("b",), Schema(("b",), ("b", "c"), ("c",))),
        (FORK, ("b", "c"), Schema(("b", "c"), ("b", "c"), ())),
        (None, ("a",), Schema(("a",), None, None)),
    ],
)
def test_schema_compare(
    scripts: Scripts | None, current: tuple[str, ...] | None, expected: Schema
) -> None:
    assert compare(scripts, current) == expected


def test_schema_body_joins_several_revisions() -> None:
    assert compare(FORK, ("b", "c")).body() == {"current": "b,c", "head": "b,c", "pending": []}
    assert Schema().body() == {"current": None, "head": None, "pending": None}


def report(env: dict[str, str], cwd: Path = processes.ROOT) -> dict[str, object]:
    result = processes.run("python", "-m", "app.health.schema", env=env, cwd=cwd)
    assert (result.returncode, result.stderr) == (0, "")
    return json.loads(result.stdout)


def test_schema_command_reports_the_revisions(environment: dict[str, str], project: Path) -> None:
    scripts = {"head": ALL[-1], "known": ALL}
    assert report(environment) == {"current": None, "pending": ALL} | scripts
    processes.migrate(environment, ALL[0])
    assert report(environment) == {"current": ALL[0], "pending": ALL[1:]} | scripts
    processes.add_revision(project, "0003_other", "pass", after=ALL[1])
    forked = report(environment, project)
    assert forked["head"] == "0003_deals_newest,0003_other"
    assert forked["pending"][0] == ALL[1]
    assert set(forked["pending"]) == {*ALL[1:], "0003_other"}


@pytest.mark.parametrize(
    "change",
    [
        {"DB_PORT": "1"},
        {"POSTGRES_PASSWORD": "wr@ng"},
        {"DATABASE_URL": "postgresql://scout:p@ss@word@host/name"},
    ],
)
def test_schema_command_prints_errors_in_one_line_without_the_password(
    environment: dict[str, str], change: dict[str, str]
) -> None:
    result = processes.run(
        "python", "-m", "app.health.schema", env=environment | change, timeout=15
    )
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1
    for secret in (servers.PASSWORD, "wr@ng", "p@ss"):
        assert secret not in result.stderr


def test_schema_command_fails_on_an_invalid_revision(
    environment: dict[str, str], project: Path
) -> None:
    (project / "alembic" / "versions" / "0004_typo.py").write_text("revision = (\n")
    result = processes.run("python", "-m", "app.health.schema", env=environment, cwd=project)
    assert result.returncode == 1
    assert "0004_typo.py" in result.stderr
    assert result.stderr.count("\n") == 1
