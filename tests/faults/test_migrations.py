"""Alembic through our env.py, as real processes on a real database."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg2.extensions
import pytest

from harness import servers
from tests.integration.backend import processes
from tests.integration.backend.processes import Process, add_revision

REVISIONS = ["0001_deals", "0002_deals_checks", "0003_deals_newest"]
LOCK = 0x6465616C73  # as in alembic/env.py

Cursor = psycopg2.extensions.cursor


@pytest.fixture
def sql(postgres: servers.Postgres, database: str) -> Iterator[Cursor]:
    """A cursor, in autocommit, on the database to be migrated."""
    with contextlib.closing(postgres.connect(database)) as connection:
        yield connection.cursor()


def one(cursor: Cursor, query: str) -> object:
    cursor.execute(query)
    row = cursor.fetchone()
    return row and row[0]


def change_env(project: Path, old: str, new: str) -> None:
    """Do not wait as long as in real life."""
    env_py = project / "alembic" / "env.py"
    assert old in env_py.read_text()
    env_py.write_text(env_py.read_text().replace(old, new))


def alembic_fails(env: dict[str, str], cwd: Path) -> str:
    """The one line in which `alembic upgrade head` names the cause."""
    result = processes.run("alembic", "upgrade", "head", env=env, cwd=cwd)
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    assert servers.PASSWORD not in result.stderr
    told = [line for line in result.stderr.splitlines() if line.startswith("FAILED: ")]
    assert len(told) == 1
    return told[0]


def test_down_and_up_again_and_the_models_agree(environment: dict[str, str], sql: Cursor) -> None:
    processes.migrate(environment)
    check = processes.run("alembic", "check", env=environment)
    assert check.returncode == 0, check.stderr
    down = processes.run("alembic", "downgrade", "base", env=environment)
    assert down.returncode == 0, down.stderr
    assert one(sql, "SELECT to_regclass('deals')") is None
    processes.migrate(environment)


def test_an_index_that_was_cut_off_is_built_again(environment: dict[str, str], sql: Cursor) -> None:
    processes.migrate(environment, REVISIONS[1])
    sql.execute("CREATE INDEX deals_newest ON deals (id)")
    sql.execute(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'deals_newest'::regclass"
    )
    processes.migrate(environment)
    assert one(sql, "SELECT count(*) FROM pg_index WHERE NOT indisvalid") == 0
    assert "found_at" in str(one(sql, "SELECT pg_get_indexdef('deals_newest'::regclass)"))


def test_f10_kill_in_the_middle_leaves_nothing_behind(
    environment: dict[str, str], project: Path, tmp_path: Path, sql: Cursor
) -> None:
    """Even the statement that ran is ended, though nobody told the server."""
    revision = add_revision(
        project,
        "0004_slow",
        'op.execute("CREATE TABLE half (id int)")\nop.execute("SELECT pg_sleep(100)")',
    )
    processes.migrate(environment, REVISIONS[-1])
    run = Process("alembic", "upgrade", "head", env=environment, cwd=project, log=tmp_path / "log")
    ours = "FROM pg_stat_activity WHERE application_name = 'deal-scout migrations'"
    sleeps = f"SELECT count(*) {ours} AND datname = current_database() AND query LIKE '%pg_sleep%'"
    servers.wait_until("it sleeps", lambda: one(sql, sleeps) == 1)
    run.kill()
    servers.wait_until("the statement has ended", lambda: one(sql, sleeps) == 0, 5)
    servers.wait_until(
        "the lock is free", lambda: one(sql, f"SELECT pg_try_advisory_lock({LOCK})"), 5
    )
    sql.execute(f"SELECT pg_advisory_unlock({LOCK})")
    assert one(sql, "SELECT to_regclass('half')") is None
    assert one(sql, "SELECT version_num FROM alembic_version") == REVISIONS[-1]

    revision.write_text(revision.read_text().replace("pg_sleep(100)", "1"))
    processes.migrate(environment, cwd=project)
    assert one(sql, "SELECT to_regclass('half')") == "half"


def test_f11_a_locked_table_fails_the_migration_and_blocks_others_no_longer(
    environment: dict[str, str], project: Path, postgres: servers.Postgres, database: str
) -> None:
    """Given up after lock_timeout."""
    processes.migrate(environment)
    change_env(project, '"lock_timeout": "5s"', '"lock_timeout": "2s"')
    add_revision(project, "0004_alter", 'op.execute("ALTER TABLE deals ADD COLUMN more text")')
    with contextlib.closing(postgres.connect(database)) as other:
        other.autocommit = False
        other.cursor().execute("LOCK TABLE deals IN ACCESS EXCLUSIVE MODE")
        began = time.monotonic()
        told = alembic_fails(environment, project)
        assert time.monotonic() - began < 15
        result = processes.run("alembic", "upgrade", "head", env=environment, cwd=project)
    assert told.startswith(
        "FAILED: 0004_alter.py:10: canceling statement due to lock timeout; blocked by unnamed session (pid "
    )
    assert told.endswith("): LOCK TABLE deals IN ACCESS EXCLUSIVE MODE")
    assert "Waiting for unnamed session (pid " in result.stderr
    processes.migrate(environment, cwd=project)


def test_a_busy_lock_is_waited_for_named_and_given_up(
    environment: dict[str, str], project: Path, postgres: servers.Postgres, database: str
) -> None:
    change_env(project, "LOCK_TIMEOUT = 60.0", "LOCK_TIMEOUT = 1.0")
    with contextlib.closing(postgres.connect(database, application_name="somebody")) as other:
        cursor = other.cursor()
        cursor.execute(f"SELECT pg_advisory_lock({LOCK}), 'a secret'")
        told = alembic_fails(environment, project)
        assert f"somebody (pid {one(cursor, 'SELECT pg_backend_pid()')}," in told
        assert "secret" not in told
        reads = processes.run("alembic", "current", env=environment, cwd=project)
        assert (reads.returncode, reads.stdout) == (0, "")  # which waits for nobody
    processes.migrate(environment, cwd=project)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"DB_PORT": "1"}, "cannot reach the database at 127.0.0.1:1: "),
        ({"POSTGRES_PASSWORD": "wrong"}, "password authentication failed"),
        ({"DB_PORT": "x"}, "DB_PORT is 'x': it must be a number"),
    ],
)
def test_an_unusable_database_is_one_line(
    environment: dict[str, str], change: dict[str, str], cause: str
) -> None:
    assert cause in alembic_fails(environment | change, processes.ROOT)


@pytest.mark.parametrize(
    ("name", "code", "after", "cause"),
    [
        ("0004_typo", "op.execute(", REVISIONS[-1], "0004_typo.py:10: SyntaxError: "),
        ("0003_other", "pass", REVISIONS[1], "Multiple head revisions"),
        ("0005_orphan", "pass", "0004_lost", "0004_lost"),
        (
            "0004_wrong",
            "op.execute(\"INSERT INTO nowhere VALUES ('secret')\")",
            REVISIONS[-1],
            '0004_wrong.py:10: relation "nowhere" does not exist',
        ),
        ("0004_bug", "1 / 0", REVISIONS[-1], "0004_bug.py:10: ZeroDivisionError: "),
    ],
)
def test_a_broken_revision_is_one_line(
    environment: dict[str, str], project: Path, name: str, code: str, after: str, cause: str
) -> None:
    add_revision(project, name, code, after)
    told = alembic_fails(environment, project)
    assert cause in told
    assert "secret" not in told
