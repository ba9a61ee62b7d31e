"""Alembic with our env.py, as a real process on a real database."""

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
    """Yield a cursor, in autocommit, on the database to be migrated."""
    with contextlib.closing(postgres.connect(database)) as connection:
        yield connection.cursor()


def one(cursor: Cursor, query: str) -> object:
    """Return the first column of the first row of a query."""
    cursor.execute(query)
    row = cursor.fetchone()
    return row and row[0]


def change_env(project: Path, old: str, new: str) -> None:
    """Replace a text in env.py, to shorten a timeout."""
    env_py = project / "alembic" / "env.py"
    assert old in env_py.read_text()
    env_py.write_text(env_py.read_text().replace(old, new))


def failure_of_alembic(env: dict[str, str], cwd: Path) -> str:
    """Run `alembic upgrade head`, which must fail, and return the line that names the cause."""
    result = processes.run("alembic", "upgrade", "head", env=env, cwd=cwd)
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    assert servers.PASSWORD not in result.stderr
    [line] = [line for line in result.stderr.splitlines() if line.startswith("FAILED: ")]
    return line


def test_migrations_match_the_models_and_can_be_reverted(
    environment: dict[str, str], sql: Cursor
) -> None:
    processes.migrate(environment)
    check = processes.run("alembic", "check", env=environment)
    assert check.returncode == 0, check.stderr
    down = processes.run("alembic", "downgrade", "base", env=environment)
    assert down.returncode == 0, down.stderr
    assert one(sql, "SELECT to_regclass('deals')") is None
    processes.migrate(environment)


def test_migrations_rebuild_an_invalid_index(environment: dict[str, str], sql: Cursor) -> None:
    processes.migrate(environment, REVISIONS[1])
    sql.execute("CREATE INDEX deals_newest ON deals (id)")
    sql.execute(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'deals_newest'::regclass"
    )
    processes.migrate(environment)
    assert one(sql, "SELECT count(*) FROM pg_index WHERE NOT indisvalid") == 0
    assert "found_at" in str(one(sql, "SELECT pg_get_indexdef('deals_newest'::regclass)"))


def test_f10_killed_migration_leaves_no_change_and_no_lock(
    environment: dict[str, str], project: Path, tmp_path: Path, sql: Cursor
) -> None:
    # The server also ends the running statement, although it received no cancel request.
    revision = add_revision(
        project,
        "0004_slow",
        'op.execute("CREATE TABLE half (id int)")\nop.execute("SELECT pg_sleep(100)")',
    )
    processes.migrate(environment, REVISIONS[-1])
    alembic = Process(
        "alembic", "upgrade", "head", env=environment, cwd=project, log=tmp_path / "log"
    )
    sessions = "FROM pg_stat_activity WHERE application_name = 'deal-scout migrations'"
    sleeps = (
        f"SELECT count(*) {sessions} AND datname = current_database() AND query LIKE '%pg_sleep%'"
    )
    servers.wait_until("it sleeps", lambda: one(sql, sleeps) == 1)
    alembic.kill()
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


def test_f11_locked_table_fails_the_migration_after_lock_timeout(
    environment: dict[str, str], project: Path, postgres: servers.Postgres, database: str
) -> None:
    processes.migrate(environment)
    change_env(project, '"lock_timeout": "5s"', '"lock_timeout": "2s"')
    add_revision(project, "0004_alter", 'op.execute("ALTER TABLE deals ADD COLUMN more text")')
    with contextlib.closing(postgres.connect(database)) as other:
        other.autocommit = False
        other.cursor().execute("LOCK TABLE deals IN ACCESS EXCLUSIVE MODE")
        started_at = time.monotonic()
        failure = failure_of_alembic(environment, project)
        assert time.monotonic() - started_at < 15
        result = processes.run("alembic", "upgrade", "head", env=environment, cwd=project)
    assert failure.startswith(
        "FAILED: 0004_alter.py:10: canceling statement due to lock timeout; blocked by unnamed session (pid "
    )
    assert failure.endswith("): LOCK TABLE deals IN ACCESS EXCLUSIVE MODE")
    assert "Waiting for unnamed session (pid " in result.stderr
    processes.migrate(environment, cwd=project)


def test_migrations_wait_for_the_lock_and_name_its_holder(
    environment: dict[str, str], project: Path, postgres: servers.Postgres, database: str
) -> None:
    change_env(project, "LOCK_TIMEOUT = 60.0", "LOCK_TIMEOUT = 1.0")
    with contextlib.closing(postgres.connect(database, application_name="somebody")) as other:
        cursor = other.cursor()
        cursor.execute(f"SELECT pg_advisory_lock({LOCK}), 'a secret'")
        failure = failure_of_alembic(environment, project)
        assert f"somebody (pid {one(cursor, 'SELECT pg_backend_pid()')}," in failure
        assert "secret" not in failure
        reads = processes.run("alembic", "current", env=environment, cwd=project)
        assert (reads.returncode, reads.stdout) == (0, "")  # reading needs no lock
    processes.migrate(environment, cwd=project)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"DB_PORT": "1"}, "cannot reach the database at 127.0.0.1:1: "),
        ({"POSTGRES_PASSWORD": "wrong"}, "password authentication failed"),
        ({"DB_PORT": "x"}, "invalid value 'x' for DB_PORT: use a number"),
    ],
)
def test_migrations_report_an_unusable_database_in_one_line(
    environment: dict[str, str], change: dict[str, str], cause: str
) -> None:
    assert cause in failure_of_alembic(environment | change, processes.ROOT)


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
def test_migrations_report_a_broken_revision_in_one_line(
    environment: dict[str, str], project: Path, name: str, code: str, after: str, cause: str
) -> None:
    add_revision(project, name, code, after)
    failure = failure_of_alembic(environment, project)
    assert cause in failure
    assert "secret" not in failure
