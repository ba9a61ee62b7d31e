"""The body of `/health` and `/ready`, for both the startup responder and the application."""

from __future__ import annotations

from datetime import UTC, datetime

from app import VERSION


def health_body(
    *, db: bool, queue_depth: int | None, phase: str, migrations: str
) -> dict[str, object]:
    """Return the keys that both share. `queue_depth` is None while Redis does not answer."""
    return {
        "ok": db and queue_depth is not None,
        "db": db,
        "redis": queue_depth is not None,
        "queue_depth": queue_depth,
        "version": VERSION,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "phase": phase,
        "migrations": migrations,
    }
