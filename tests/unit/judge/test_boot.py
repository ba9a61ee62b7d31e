"""Parsing the markers of the entrypoint into phases."""

from hypothesis import given
from hypothesis import strategies as st

from deal_scout_profile.entrypoint import PHASES
from invoke_stack.judge import boot
from invoke_stack.model import Phase
from tests.support.fakes import line, stamp


def parse(*lines):
    return boot.parse([line(at, f"[entrypoint] {text}") for at, text in lines], PHASES)


def test_parse_reads_all_phases_of_a_successful_boot():
    result = parse(
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


def test_parse_reads_the_shorter_markers_of_older_entrypoints():
    result = parse(
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


def test_parse_reports_a_database_timeout_and_skipped_migrations():
    result = parse(
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


def test_parse_returns_only_the_last_boot():
    result = parse(
        (0, "Waiting for Postgres at a:1..."),
        (1, "Starting Uvicorn application..."),
        (5, "Waiting for Postgres at a:1..."),
        (6, "Attempt 1/60... (waiting)"),
    )
    assert result.phases == (Phase("database", 1.0, 1, ""),)
    assert result.serving_since is None


def test_served_after_ends_the_last_phase():
    parser = boot.BootParser(PHASES)
    parser.add(line(0, "[entrypoint] Waiting for Postgres at a:1..."))
    parser.add(line(1, "[entrypoint] Starting Uvicorn application..."))
    assert parser.boot(served_after=1.5).phases[-1] == Phase("application", 1.5, 1, "serving")


def test_phase_stays_closed_during_background_migrations():
    result = parse(
        (0, "Waiting for Postgres at a:1..."),
        (1, "Running database migrations..."),
        (2, "⚠️  Migrations did not complete after 6 attempts."),
        (3, "Starting Uvicorn application..."),
        (60, "Alembic attempt 7 in the background..."),
        (61, "✓ Migrations applied successfully."),
    )
    assert result.phases[1].outcome == "failed"


@given(st.lists(st.text(max_size=60)))
def test_parse_accepts_any_text(texts):
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
def test_parse_lists_each_phase_at_most_once_in_any_order_of_markers(texts):
    names = [phase.name for phase in parse(*enumerate(texts)).phases]
    assert len(names) == len(set(names))


def test_application_phase_ends_at_the_line_of_uvicorn():
    lines = [
        line(0, "INFO:     Application startup complete."),  # of the old process
        line(1, "[entrypoint] Waiting for Postgres at postgres:5432..."),
        line(2, "[entrypoint] ✓ DB connectivity check complete."),
        line(2, "[entrypoint] Starting Uvicorn application..."),
    ]
    assert boot.parse(lines, PHASES).phases[-1] == Phase("application", 0.0, 1, "")
    serving_line = line(3.5, "INFO:     Application startup complete.", stream="stderr")
    assert boot.parse([*lines, serving_line], PHASES).phases[-1] == Phase(
        "application", 1.5, 1, "serving"
    )


def test_unfinished_phase_lasts_until_the_given_time():
    parser = boot.BootParser(PHASES)
    parser.add(line(1, "[entrypoint] Waiting for Postgres at postgres:5432..."))
    assert parser.boot().phases == (Phase("database", 0.0, 1, ""),)
    assert parser.boot(until=stamp(5)).phases == (Phase("database", 4.0, 1, ""),)
