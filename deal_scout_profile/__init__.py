"""The profile of deal-scout, which `tasks.py` passes to the toolkit. It is not in the wheel."""

from __future__ import annotations

from deal_scout_profile import entrypoint, health_body, variables
from invoke_stack.profile import Database, Diagnosis, Profile, SchemaAccess


def _diagnosis() -> Diagnosis:
    from deal_scout_profile.diagnosis import DIAGNOSIS

    return DIAGNOSIS


PROFILE = Profile(
    service="backend",
    ready="/ready",
    assess=health_body.assess,
    phases=entrypoint.PHASES,
    advice=entrypoint.ADVICE,
    fatal_reason="migrations: failed",
    services=("postgres", "redis", "backend", "worker", "beat", "frontend"),
    dependencies={"postgres": "db", "redis": "redis"},
    page="frontend",
    port_variables={"backend": "PORT", "frontend": "FRONTEND_PORT"},
    variables=variables.CHECKS,
    passwords=("POSTGRES_PASSWORD", "REDIS_PASSWORD"),
    runs_locally=True,
    schema=SchemaAccess(
        path="/migrations",
        report=("python", "-m", "app.health.schema"),
        upgrade=("sh", "-c", "exec alembic upgrade head 2>&1"),
        folder="alembic/versions",
    ),
    database=Database(service="postgres", name="deal_scout", url="DATABASE_URL"),
    diagnosis=_diagnosis,
)
