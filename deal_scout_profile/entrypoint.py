"""The phases of the entrypoint's log lines.

Older entrypoints used shorter forms of the same lines (`Alembic attempt 6/6... ✗`).
"""

from __future__ import annotations

import re

from invoke_stack.profile.phases import Marker, Says, Script

DATABASE, MIGRATIONS, APPLICATION = "database", "migrations", "application"


def _marker(phase: str, says: Says, pattern: str, outcome: str = "", attempts: int = 1) -> Marker:
    return Marker(phase, says, re.compile(pattern, re.IGNORECASE), outcome, attempts)


PHASES = Script(
    prefix="[entrypoint]",
    markers=(
        _marker(DATABASE, Says.BEGINS, r"Waiting for Postgres\b"),
        _marker(DATABASE, Says.COUNTS, r"Attempt (\d+)/\d+"),
        _marker(DATABASE, Says.EXPLAINS, r"(Postgres can be reached, but not used: .+)"),
        _marker(DATABASE, Says.EXPLAINS, r"(DB_HOST \S+ is not found: .+)"),
        _marker(DATABASE, Says.ENDS, r"✓ DB connectivity check complete", "answered"),
        _marker(MIGRATIONS, Says.BEGINS, r"Running database migrations", attempts=0),
        _marker(MIGRATIONS, Says.COUNTS, r"Alembic attempt (\d+)/\d+"),
        _marker(MIGRATIONS, Says.EXPLAINS, r"Cause: (?!the same as before)(.+)"),
        _marker(MIGRATIONS, Says.ENDS, r"✓ Migrations applied successfully", "applied"),
        _marker(MIGRATIONS, Says.ENDS, r".*migrations skipped", "skipped"),
        _marker(MIGRATIONS, Says.ENDS, r".*Migrations did not complete", "failed"),
        _marker(APPLICATION, Says.BEGINS, r"Starting Uvicorn application"),
    ),
    overtaken={DATABASE: "timed out", MIGRATIONS: "skipped"},
    served=re.compile(r"INFO: +Application startup complete"),  # printed by Uvicorn
)

ADVICE = {
    DATABASE: "look at the database: inv status, inv logs postgres",
    MIGRATIONS: "mend the migration that the log names; it is tried again by itself: inv migrations",
}
