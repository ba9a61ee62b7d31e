"""Boots of the real entrypoint against a database that hangs, is locked or is shared by others."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
from pathlib import Path

import pytest

from harness import servers
from tests.faults.conftest import RECORD
from tests.integration.backend.processes import add_revision
from tests.integration.boot.boots import ROOT, Boot

REVISIONS = ["0001_deals", "0002_deals_checks", "0003_deals_newest"]


def with_migrations(boot: Boot) -> Boot:
    """Give a boot the real Alembic and a copy of the real revisions."""
    (boot.bin / "alembic").unlink()
    shutil.copy(ROOT / "alembic.ini", boot.folder)
    shutil.copytree(
        ROOT / "alembic", boot.folder / "alembic", ignore=shutil.ignore_patterns("__pycache__")
    )
    return boot


def with_everything(boot: Boot) -> Boot:
    """Give a boot the real Alembic, revisions and application, in a folder like the image's."""
    (boot.bin / "uvicorn").unlink()
    (boot.folder / "backend").symlink_to(ROOT / "backend")
    return with_migrations(boot)


def test_f02_boot_does_not_wait_forever_for_frozen_postgres(
    boot: Boot, own_postgres: servers.Postgres
) -> None:
    # A frozen server accepts connections and never responds.
    own_postgres.freeze()
    try:
        boot.start(DB_PORT=str(own_postgres.port), DB_WAIT_TIMEOUT="3")
        started_at = time.monotonic()
        boot.wait_until_listening()
        while not any("Postgres did not answer" in marker for marker in boot.markers):
            requested_at = time.monotonic()
            assert requested_at - started_at < 10
            assert boot.health()["db"] is False
            assert boot.ask("/live")[0] == 200
            assert time.monotonic() - requested_at < 2
        assert time.monotonic() - started_at > 2.5
        assert "Attempt 3/3... (waiting)" in boot.markers
        boot.wait_until_serving()
    finally:
        own_postgres.thaw()


@pytest.mark.slow
def test_f07_health_responds_during_migration_of_first_boot(
    boot: Boot, postgres: servers.Postgres, measured
) -> None:
    # The migration holds ACCESS EXCLUSIVE on every table for 20 s.
    with_migrations(boot)
    code = (
        'op.execute("LOCK TABLE deals, alembic_version IN ACCESS EXCLUSIVE MODE")\n'
        'op.execute("SELECT pg_sleep(20)")'
    )
    add_revision(boot.folder, "0004_slow", code)
    boot.start().until("Alembic attempt 1/6")
    slowest, count, healthy, started_at = 0.0, 0, 0, time.monotonic()
    while time.monotonic() - started_at < 20 and not has_marker(boot, "✓ Migrations applied"):
        requested_at = time.monotonic()
        status, _, text = boot.ask("/health")
        slowest = max(slowest, time.monotonic() - requested_at)
        assert json.loads(text)["phase"] == "migrating"
        healthy += status == 200
        assert boot.ask("/live")[0] == 200
        assert boot.ask("/ready")[0] == 503
        count += 1
        time.sleep(0.05)
    assert slowest <= 2
    # On a busy machine some checks of the database may time out.
    assert healthy >= count * 0.95
    boot.until("✓ Migrations applied successfully.")
    measured(f"first boot: {healthy} of {count} probes 200 and migrating, within {slowest:.2f} s")


def has_marker(boot: Boot, line: str) -> bool:
    return any(marker.startswith(line) for marker in boot.markers)


@pytest.mark.slow
def test_f08_f09_five_entrypoints_at_once_migrate_an_empty_database(
    environment: dict[str, str], postgres: servers.Postgres, tmp_path: Path, measured
) -> None:
    """One of the revisions is a CREATE INDEX CONCURRENTLY, which waits for all transactions.

    20 rounds with `inv test --faults`, which writes the table of results; else 5.
    """
    database = environment["POSTGRES_DB"]
    rounds = 20 if RECORD in os.environ else 5
    for number in range(rounds):
        folders = [tmp_path / f"{number}-{index}" for index in range(5)]
        boots = []
        try:
            for folder in folders:
                folder.mkdir()
                boots.append(with_migrations(Boot(folder, environment)))
                boots[-1].start(HEALTH_RESTART_AFTER="0", LIVE_RESTART_AFTER="0")
            for boot in boots:
                boot.until("✓ Migrations applied successfully.", 60)
                assert not has_marker(boot, "Alembic attempt 2")
            log = "".join(boot.err for boot in boots)
            assert re.findall(r"Running upgrade .*-> (\w+),", log) == REVISIONS
        finally:
            for boot in boots:
                boot.clean_up()
        with contextlib.closing(postgres.connect(database)) as connection:
            cursor = connection.cursor()
            cursor.execute("SELECT string_agg(version_num, ',') FROM alembic_version")
            assert cursor.fetchone() == (REVISIONS[-1],)
            cursor.execute("SELECT count(*) FROM pg_index WHERE NOT indisvalid")
            assert cursor.fetchone() == (0,)
            cursor.execute("DROP TABLE deals, alembic_version CASCADE")
    measured(f"{rounds} rounds of 5: each revision once, no error, no invalid index")


@pytest.mark.parametrize(
    ("name", "code", "after", "cause"),
    [
        ("0004_typo", "op.execute(", REVISIONS[-1], "SyntaxError"),
        ("0003_other", "pass", REVISIONS[1], "Multiple head revisions"),
        ("0005_orphan", "pass", "0004_lost", "0004_lost"),
    ],
)
def test_f12_broken_revision_is_retried_then_boot_is_degraded(
    boot: Boot, name: str, code: str, after: str, cause: str
) -> None:
    add_revision(with_everything(boot).folder, name, code, after)
    delays = ("0.1", "0.2")
    boot.start(MIGRATE_DELAYS=" ".join(delays)).wait_until_serving()
    lines = boot.migration_markers()
    attempts = [line for line in lines if line.startswith("Alembic attempt")]
    assert attempts == [f"Alembic attempt {n}/2 (delay: {d}s)..." for n, d in enumerate(delays, 1)]
    causes = [line for line in lines if line.startswith("Cause: ")]
    assert cause in causes[0]
    assert causes[1] == "Cause: the same as before."

    def is_degraded() -> bool:
        status, _, text = boot.ask("/ready")
        body = json.loads(text)
        return (status, body["phase"], body["migrations"]) == (503, "serving", "failed")

    servers.wait_until("it serves, degraded", is_degraded)
    assert boot.ask("/health")[0] == 200
