"""Boots with the real Alembic, revisions and application."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

import pytest

from harness import servers
from tests.integration.boot.boots import ROOT, Boot


@pytest.fixture
def real(boot: Boot) -> Boot:
    """Return a boot with the real Alembic, revisions and application, as in the image."""
    for name in ("alembic", "uvicorn"):
        (boot.bin / name).unlink()
    (boot.folder / "backend").symlink_to(ROOT / "backend")
    shutil.copy(ROOT / "alembic.ini", boot.folder)
    shutil.copytree(ROOT / "alembic", boot.folder / "alembic")
    return boot


def break_a_revision(folder: Path) -> Path:
    file = folder / "alembic" / "versions" / "9999_broken.py"
    file.write_text("def upgrade() -> None:\n    this is no Python\n")
    return file


def test_boot_reports_each_phase_and_becomes_ready(real: Boot, postgres: servers.Postgres) -> None:
    real.start().wait_until_listening()
    servers.wait_until("/ready", lambda: real.ask("/ready")[0] == 200)
    health = real.health()
    assert (health["ok"], health["phase"], health["migrations"]) == (True, "serving", "current")
    phases = json.loads(real.ask("/overview")[2])["phases"]
    assert [(phase["name"], phase["attempts"], phase["outcome"]) for phase in phases] == [
        ("database", 1, "answered"),
        ("migrations", 1, "applied"),
        ("application", 1, "serving"),
    ]
    with contextlib.closing(postgres.connect(real.environ["POSTGRES_DB"])) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT count(*) FROM alembic_version")
        assert cursor.fetchone() == (1,)
    assert real.err.count("Running upgrade") >= 1
    code, seconds = real.end()
    assert (code in (0, -15), seconds <= 10) == (True, True)
    assert real.commands() == []


def test_f13_degraded_start_recovers_without_restart(real: Boot) -> None:
    # A broken revision is removed.
    broken = break_a_revision(real.folder)
    real.start(MIGRATE_DELAYS="0.1 0.5").wait_until_serving()
    causes = [marker for marker in real.markers if marker.startswith("Cause: ")]
    assert "9999_broken.py:2: SyntaxError" in causes[0]
    assert causes[1] == "Cause: the same as before."
    assert (real.out + real.err).count("SyntaxError") == 2  # Alembic's own line, and ours

    def health() -> dict[str, object]:
        return json.loads(real.ask("/ready")[2])

    servers.wait_until("it serves", lambda: health()["phase"] == "serving")
    assert health()["migrations"] in ("failed", "unknown")
    broken.unlink()
    real.until("✓ Migrations applied successfully.")
    servers.wait_until("/ready", lambda: real.ask("/ready")[0] == 200)
