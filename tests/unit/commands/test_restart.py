"""Verdicts of restarts, with a fake clock. Output of the old process must never count."""

import pytest

from deal_scout_profile import PROFILE
from invoke_stack.commands import restart
from invoke_stack.judge import start
from invoke_stack.judge.start import Criteria
from invoke_stack.model import Outcome, State
from invoke_stack.profile.readiness import Readiness
from tests.support.fakes import READY, FakeClock, ScriptedRuntime, body, line, moment

BOOT = [
    line(2.0, "[entrypoint] Waiting for Postgres at a:1..."),
    line(2.5, "[entrypoint] ✓ DB connectivity check complete."),
    line(2.5, "[entrypoint] Running database migrations..."),
    line(2.5, "[entrypoint] Alembic attempt 1/6 (delay: 2s)..."),
    line(3.5, "[entrypoint] ✓ Migrations applied successfully."),
    line(3.5, "[entrypoint] Starting Uvicorn application..."),
]


class FakeReporter:
    def __init__(self):
        self.lines, self.waits = [], []

    def show_line(self, line):
        self.lines.append(line.text)

    def show_notice(self, text):
        raise AssertionError(text)

    def show_progress(self, what, seconds, limit):
        self.waits.append((what, seconds, limit))


READINESS = Readiness("/ready", PROFILE.assess)


def play(timeout=600.0, readiness=READINESS, **script):
    clock = FakeClock()
    runtime = ScriptedRuntime(clock, **script)
    reporter = FakeReporter()
    verdicts = restart.restart_and_judge(
        *(runtime, "backend"),
        Criteria(readiness, PROFILE.phases, PROFILE.advice),
        timeout=timeout,
        reporter=reporter,
        clock=clock,
    )
    assert runtime.restart_calls == 1
    return verdicts, reporter, clock


def test_restart_is_healthy_with_the_phases_of_the_new_start():
    [verdict], reporter, clock = play(
        lines=BOOT, starts=[(1.9, "backend")], answers=[(0, READY), (1.5, None), (5.0, READY)]
    )
    assert verdict.outcome is Outcome.HEALTHY
    assert [(p.name, p.outcome) for p in verdict.phases] == [
        ("database", "answered"),
        ("migrations", "applied"),
        ("application", "serving"),
    ]
    assert verdict.phases[2].seconds == pytest.approx(1.5, abs=0.2)
    assert verdict.total_seconds == pytest.approx(5.0, abs=0.2)
    assert clock.seconds >= 5.0 + start.STABLE_FOR
    assert (verdict.previous_started_at, verdict.started_at) == (moment(-3600), moment(1.9))
    assert reporter.lines == [entry.text for entry in BOOT]
    assert verdict.reason == verdict.remedy == ""
    assert verdict.evidence == ()


def test_restart_ignores_a_healthy_old_process():
    [verdict], reporter, _ = play(
        timeout=30, lines=[line(1, "old says goodbye")], answers=[(0, READY)]
    )
    assert verdict.outcome is Outcome.TIMEOUT
    assert verdict.started_at is None
    assert reporter.lines == []
    assert "the old process to stop" in verdict.reason


def test_restart_times_out_when_the_request_does_not_return():
    [verdict], _, _ = play(timeout=4, restart_returns_at=60)
    assert verdict.outcome is Outcome.TIMEOUT
    assert verdict.total_seconds == pytest.approx(4, abs=0.2)
    assert "continues in the background" in verdict.reason


def test_restart_fails_with_the_last_lines_when_the_start_ends_at_once():
    [verdict], _, _ = play(
        lines=[line(2.0, "invalid value 'abc' for PORT")],
        starts=[(1.9, "backend")],
        ends=[(2.2, "backend", 2)],
    )
    assert verdict.outcome is Outcome.FAILED
    assert verdict.reason == "it exited with code 2"
    assert [entry.text for entry in verdict.evidence] == ["invalid value 'abc' for PORT"]
    assert verdict.remedy


def test_restart_waits_for_the_last_lines_of_a_start_that_ended_at_once():
    [verdict], _, _ = play(
        lines=[line(2.4, "invalid value 'abc' for PORT")],
        starts=[(1.9, "backend")],
        ends=[(1.9001, "backend", 2)],
    )
    assert [entry.text for entry in verdict.evidence] == ["invalid value 'abc' for PORT"]


@pytest.mark.parametrize("restarts_itself", [True, False])
def test_restart_fails_when_the_start_ended_before_the_first_poll(restarts_itself):
    [verdict], _, clock = play(
        starts=[(1.9, "backend")],
        ends=[(1.9001, "backend", 2)],
        restarts_itself=restarts_itself,
    )
    assert verdict.outcome is Outcome.FAILED
    assert verdict.reason == "it exited with code 2"
    assert clock.seconds < 3.1


def test_restart_ignores_a_start_that_the_request_itself_stops():
    """In a crash loop the runtime may start the old process again while it handles the request."""
    [verdict], reporter, _ = play(
        lines=[line(1.1, "old again"), *BOOT],
        starts=[(1.0, "backend"), (1.7, "backend")],
        ends=[(1.5, "backend", 143)],
        restart_returns_at=1.8,  # a request to restart returns after the start that it makes
        answers=[(5.0, READY)],
    )
    assert verdict.outcome is Outcome.HEALTHY
    assert verdict.started_at == moment(1.7)
    assert "old again" not in reporter.lines


def test_restart_fails_when_the_start_ends_within_the_stability_window():
    [verdict], _, _ = play(
        lines=BOOT,
        starts=[(1.9, "backend")],
        ends=[(5.5, "backend", 137)],
        answers=[(0, None), (4.0, READY)],
    )
    assert verdict.outcome is Outcome.FAILED
    assert "137" in verdict.reason


def test_restart_fails_when_the_service_restarts_between_two_polls():
    [verdict], _, _ = play(
        lines=BOOT,
        starts=[(1.9, "backend"), (5.51, "backend")],
        answers=[(0, None), (4.0, READY)],
    )
    assert verdict.outcome is Outcome.FAILED


def test_restart_is_degraded_when_the_schema_is_not_current():
    answer = (503, body(migrations="failed", ok=True))
    [verdict], _, _ = play(lines=BOOT, starts=[(1.9, "backend")], answers=[(4.0, answer)])
    assert verdict.outcome is Outcome.DEGRADED
    assert "migrations: failed" in verdict.reason


def test_restart_shows_cause_and_lines_of_a_failed_migration():
    boot = [
        *BOOT[:4],
        line(3.0, '[entrypoint] Cause: 0004_shops.py:9: relation "shops" does not exist'),
        line(3.0, "[entrypoint] ✗ Alembic exited with code 1."),
        line(5.0, "[entrypoint] Alembic attempt 2/2 (delay: 4s)..."),
        line(5.5, "[entrypoint] Cause: the same as before."),
        line(9.5, "[entrypoint] ⚠️  Migrations did not complete after 2 attempts."),
        line(9.5, "[entrypoint] Starting Uvicorn application..."),
        *(line(9.6, f"chatter {number}") for number in range(50)),
    ]
    answer = (503, body(migrations="failed", ok=True))
    [verdict], _, _ = play(lines=boot, starts=[(1.9, "backend")], answers=[(10.0, answer)])
    assert verdict.outcome is Outcome.DEGRADED
    assert verdict.reason.endswith('0004_shops.py:9: relation "shops" does not exist')
    assert "Migrations did not complete" in verdict.evidence[-1].text
    assert "fix the cause" in verdict.remedy


def test_restart_ignores_a_schema_that_is_briefly_unknown():
    answer = (503, body(migrations="unknown"))
    [verdict], _, _ = play(
        lines=BOOT, starts=[(1.9, "backend")], answers=[(4.0, answer), (5.0, READY)]
    )
    assert verdict.outcome is Outcome.HEALTHY


def test_restart_is_unknown_when_health_cannot_be_checked():
    [verdict], _, clock = play(lines=BOOT, starts=[(1.9, "backend")], answers=[(0, "no program")])
    assert (verdict.outcome, verdict.reason) == (Outcome.UNKNOWN, "no program")
    assert verdict.health.state is State.UNKNOWN
    assert "inv health --url" in verdict.remedy
    assert clock.seconds == pytest.approx(1.9 + start.STABLE_FOR, abs=0.3)


def test_restart_ignores_a_moment_in_which_health_cannot_be_checked():
    [verdict], _, _ = play(
        lines=BOOT, starts=[(1.9, "backend")], answers=[(0, "engine away"), (3.5, READY)]
    )
    assert verdict.outcome is Outcome.HEALTHY


def test_restart_is_unknown_when_a_loopback_address_belongs_to_a_remote_service():
    [verdict], _, _ = play(
        readiness=Readiness("http://127.0.0.1:8000/healthz"),
        lines=BOOT,
        starts=[(1.9, "backend")],
    )
    assert verdict.outcome is Outcome.UNKNOWN
    assert "127.0.0.1:8000" in verdict.reason
    assert verdict.reason.endswith("set stack.ready in invoke.yaml to a path: /healthz")


def test_restart_fails_when_the_database_stays_down():
    answer = (503, body(db=False, ok=False, migrations="unknown"))
    [verdict], _, clock = play(lines=BOOT, starts=[(1.9, "backend")], answers=[(4.0, answer)])
    assert verdict.outcome is Outcome.FAILED
    assert verdict.reason == "the database does not answer"
    assert clock.seconds == pytest.approx(4.0 + start.SETTLE_FOR, abs=0.3)


def test_restart_times_out_with_what_it_was_waiting_for():
    waits = [line(2.0, "[entrypoint] Waiting for Postgres at a:1...")]
    answer = (503, body(phase="waiting", db=False, ok=False))
    [verdict], reporter, _ = play(
        timeout=20, lines=waits, starts=[(1.9, "backend")], answers=[(2.0, answer)]
    )
    assert verdict.outcome is Outcome.TIMEOUT
    assert "backend: database" in verdict.reason
    assert "postgres" in verdict.remedy
    what, since, limit = reporter.waits[-1]
    assert (what, limit) == ("backend: database", 20)
    assert since == pytest.approx(20, abs=0.3)


def test_restart_gives_each_replica_its_own_verdict():
    verdicts, _, _ = play(
        replica_names=("backend-1", "backend-2"),
        lines=[entry._replace(replica="backend-1") for entry in BOOT],
        starts=[(1.9, "backend-1"), (2.5, "backend-2")],
        ends=[(3.0, "backend-2", 1)],
        answers=[(4.0, READY)],
    )
    assert {v.replica: v.outcome for v in verdicts} == {
        "backend-1": Outcome.HEALTHY,
        "backend-2": Outcome.FAILED,
    }


def test_restart_shows_lines_that_arrive_before_the_new_start_is_noticed():
    early = [line(1.9, "[entrypoint] first"), line(1.0, "old")]
    _, reporter, _ = play(lines=early, starts=[(1.9, "backend")], answers=[(0, None), (3.0, READY)])
    assert reporter.lines == ["[entrypoint] first"]


def test_restart_raises_the_error_of_the_request():
    class Broken(ScriptedRuntime):
        def restart(self, service):
            raise ConnectionError("gone")

    clock = FakeClock()
    with pytest.raises(ConnectionError):
        restart.restart_and_judge(
            Broken(clock),
            "backend",
            Criteria(READINESS),
            timeout=10,
            reporter=FakeReporter(),
            clock=clock,
        )
