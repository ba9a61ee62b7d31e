"""The phases of a start, from the log markers of the entrypoint.

Older entrypoints print shorter forms of the same lines (`Alembic attempt 6/6... ✗`).
"""

from __future__ import annotations

import re

from invoke_stack.profile.phases import Marker, MarkerKind, PhaseMarkers

DATABASE, MIGRATIONS, APPLICATION = "database", "migrations", "application"


def _marker(
    phase: str, kind: MarkerKind, pattern: str, outcome: str = "", attempts: int = 1
) -> Marker:
    return Marker(phase, kind, re.compile(pattern, re.IGNORECASE), outcome, attempts)


PHASES = PhaseMarkers(
    prefix="[entrypoint]",
    markers=(
        _marker(DATABASE, MarkerKind.BEGINS, r"Waiting for Postgres\b"),
        _marker(DATABASE, MarkerKind.COUNTS, r"Attempt (\d+)/\d+"),
        _marker(DATABASE, MarkerKind.EXPLAINS, r"(Postgres can be reached, but not used: .+)"),
        _marker(DATABASE, MarkerKind.EXPLAINS, r"(DB_HOST \S+ is not found: .+)"),
        _marker(DATABASE, MarkerKind.ENDS, r"✓ DB connectivity check complete", "answered"),
        _marker(MIGRATIONS, MarkerKind.BEGINS, r"Running database migrations", attempts=0),
        _marker(MIGRATIONS, MarkerKind.COUNTS, r"Alembic attempt (\d+)/\d+"),
        _marker(MIGRATIONS, MarkerKind.EXPLAINS, r"Cause: (?!the same as before)(.+)"),
        _marker(MIGRATIONS, MarkerKind.ENDS, r"✓ Migrations applied successfully", "applied"),
        _marker(MIGRATIONS, MarkerKind.ENDS, r".*migrations skipped", "skipped"),
        _marker(MIGRATIONS, MarkerKind.ENDS, r".*Migrations did not complete", "failed"),
        _marker(APPLICATION, MarkerKind.BEGINS, r"Starting Uvicorn application"),
    ),
    implied={DATABASE: "timed out", MIGRATIONS: "skipped"},
    served=re.compile(r"INFO: +Application startup complete"),  # printed by Uvicorn
)

ADVICE = {
    DATABASE: "check the database: inv status, inv logs postgres",
    MIGRATIONS: "fix the cause that the log names; the backend retries the migrations."
    " A changed migration file needs, with Docker: inv up --build",
}
