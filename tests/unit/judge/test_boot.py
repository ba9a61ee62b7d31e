"""The markers of the entrypoint, in all their forms, and what they mean."""

from hypothesis import given
from hypothesis import strategies as st

from deal_scout_profile.entrypoint import PHASES
from invoke_stack.judge import boot
from invoke_stack.model import Phase
from tests.support.fakes import line, stamp


def told(*lines):
    return boot.parse([line(at, f"[entrypoint] {text}") for at, text in lines], PHASES)


def test_a_good_boot():
    result = told(
        (0.0, "============================================"),
        (0.0, "Deal-Scout Backend Entrypoint"),
        (0.1, "Waiting for Postgres at postgres:5432..."),
        (1.1, "Attempt 1/60... (waiting)"),
        (2.1, "Attempt 2/60... (waiting)"),
        (2.6, "✓ DB connectivity check complete."),
        (2.6, "Running database migrations..."),
        (2.7, "Alembic attempt 1/6 (delay: 2s)..."),
        (3.2, "✗ Alembic exited with code 1."),
        (3.2, "Retrying in 2s..."),
        (5.2, "Alembic attempt 2/6 (delay: 4s)..."),
        (6.1, "✓ Migrations applied successfully."),
        (6.2, "Starting Uvicorn application..."),
        (6.2, "============================================"),
    )
    assert result.phases == (
        Phase("database", 2.5, 2, "answered"),
        Phase("migrations", 3.5, 2, "applied"),
        Phase("application", 0.0, 1, ""),
    )
    assert result.serving_since is not None
    assert result.current == result.phases[-1]


def test_the_shorter_forms_of_older_entrypoints():
    result = told(
        (0, "Waiting for Postgres at postgres:5432..."),
        (1, "✓ DB connectivity check complete."),
        (1, "Running database migrations..."),
        (1, "Alembic attempt 1/6... ✗"),
        (2, "Alembic attempt 6/6... ✗"),
        (3, "⚠️  Migrations did not complete after 6 attempts."),
        (3, "Starting Uvicorn application..."),
    )
    assert [(p.name, p.attempts, p.outcome) for p in result.phases] == [
        ("database", 1, "answered"),
        ("migrations", 6, "failed"),
        ("application", 1, ""),
    ]


def test_a_database_that_never_came_and_migrations_that_were_skipped():
    result = told(
        (0, "Waiting for Postgres at postgres:5432..."),
        (60, "Attempt 60/60... (waiting)"),
        (61, "Running database migrations..."),
        (61, "ALEMBIC_CMD is empty: migrations skipped."),
        (61, "Starting Uvicorn application..."),
    )
    assert [(p.name, p.seconds, p.outcome) for p in result.phases][:2] == [
        ("database", 61.0, "timed out"),
        ("migrations", 0.0, "skipped"),
    ]


def test_only_the_last_boot_counts():
    result = told(
        (0, "Waiting for Postgres at a:1..."),
        (1, "Starting Uvicorn application..."),
        (5, "Waiting for Postgres at a:1..."),
        (6, "Attempt 1/60... (waiting)"),
    )
    assert result.phases == (Phase("database", 1.0, 1, ""),)
    assert result.serving_since is None


def test_a_boot_that_was_seen_to_serve():
    parser = boot.BootParser(PHASES)
    parser.add(line(0, "[entrypoint] Waiting for Postgres at a:1..."))
    parser.add(line(1, "[entrypoint] Starting Uvicorn application..."))
    assert parser.boot(served_after=1.5).phases[-1] == Phase("application", 1.5, 1, "serving")


def test_a_migration_in_the_background_does_not_reopen_a_phase():
    result = told(
        (0, "Waiting for Postgres at a:1..."),
        (1, "Running database migrations..."),
        (2, "⚠️  Migrations did not complete after 6 attempts."),
        (3, "Starting Uvicorn application..."),
        (60, "Alembic attempt 7 in the background..."),
        (61, "✓ Migrations applied successfully."),
    )
    assert result.phases[1].outcome == "failed"


@given(st.lists(st.text(max_size=60)))
def test_no_line_can_break_it(texts):
    result = boot.parse([line(i, f"[entrypoint] {text}") for i, text in enumerate(texts)], PHASES)
    assert all(phase.seconds >= 0 for phase in result.phases)


@given(
    st.permutations(
        [
            "Waiting for Postgres",
            "Running database migrations",
            "Starting Uvicorn application",
            "✓ Migrations applied successfully.",
            "Attempt 3/60",
            "Alembic attempt 2/6",
        ]
    )
)
def test_markers_in_any_order_give_each_phase_at_most_once(texts):
    names = [phase.name for phase in told(*enumerate(texts)).phases]
    assert len(names) == len(set(names))


def test_the_application_serves_when_uvicorn_says_so():
    lines = [
        line(0, "INFO:     Application startup complete."),  # of the process before
        line(1, "[entrypoint] Waiting for Postgres at postgres:5432..."),
        line(2, "[entrypoint] ✓ DB connectivity check complete."),
        line(2, "[entrypoint] Starting Uvicorn application..."),
    ]
    assert boot.parse(lines, PHASES).phases[-1] == Phase("application", 0.0, 1, "")
    served = line(3.5, "INFO:     Application startup complete.", stream="stderr")
    assert boot.parse([*lines, served], PHASES).phases[-1] == Phase(
        "application", 1.5, 1, "serving"
    )


def test_a_phase_that_lasts_does_so_until_now():
    parser = boot.BootParser(PHASES)
    parser.add(line(1, "[entrypoint] Waiting for Postgres at postgres:5432..."))
    assert parser.boot().phases == (Phase("database", 0.0, 1, ""),)
    assert parser.boot(until=stamp(5)).phases == (Phase("database", 4.0, 1, ""),)
