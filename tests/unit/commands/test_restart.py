"""The restart story on a turned clock. What the old process says must never count."""

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


class Listener:
    def __init__(self):
        self.lines, self.waits = [], []

    def line(self, line):
        self.lines.append(line.text)

    def say(self, text):
        raise AssertionError(text)

    def waiting(self, what, seconds, limit):
        self.waits.append((what, seconds, limit))


READINESS = Readiness("/ready", PROFILE.assess)


def play(timeout=600.0, readiness=READINESS, **script):
    clock = FakeClock()
    runtime = ScriptedRuntime(clock, **script)
    listener = Listener()
    verdicts = restart.restart_and_judge(
        *(runtime, "backend"),
        Criteria(readiness, PROFILE.phases, PROFILE.advice),
        timeout=timeout,
        reporter=listener,
        clock=clock,
    )
    assert runtime.asked == 1
    return verdicts, listener, clock


def test_a_healthy_start_is_told_with_its_phases():
    [verdict], listener, clock = play(
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
    assert listener.lines == [each.text for each in BOOT]
    assert verdict.reason == verdict.remedy == ""
    assert verdict.evidence == ()


def test_the_old_process_does_not_count_however_healthy_it_is():
    [verdict], listener, _ = play(
        timeout=30, lines=[line(1, "old says goodbye")], answers=[(0, READY)]
    )
    assert verdict.outcome is Outcome.TIMEOUT
    assert verdict.started_at is None
    assert listener.lines == []
    assert "the old process to stop" in verdict.reason


def test_a_request_that_is_not_answered_in_time_tells_how_long_that_was():
    [verdict], _, _ = play(timeout=4, answered_at=60)
    assert verdict.outcome is Outcome.TIMEOUT
    assert verdict.total_seconds == pytest.approx(4, abs=0.2)
    assert "continues in the background" in verdict.reason


def test_a_start_that_ends_at_once_has_failed_and_shows_its_last_lines():
    [verdict], _, _ = play(
        lines=[line(2.0, "PORT is 'abc'")],
        starts=[(1.9, "backend")],
        ends=[(2.2, "backend", 2)],
    )
    assert verdict.outcome is Outcome.FAILED
    assert verdict.reason == "it exited with code 2"
    assert [each.text for each in verdict.evidence] == ["PORT is 'abc'"]
    assert verdict.remedy


def test_the_last_words_of_a_start_that_ended_at_once_are_waited_for():
    [verdict], _, _ = play(
        lines=[line(2.4, "PORT is 'abc'")],
        starts=[(1.9, "backend")],
        ends=[(1.9001, "backend", 2)],
    )
    assert [each.text for each in verdict.evidence] == ["PORT is 'abc'"]


@pytest.mark.parametrize("restarts_itself", [True, False])
def test_a_start_that_ended_before_anybody_looked_has_failed(restarts_itself):
    [verdict], _, clock = play(
        starts=[(1.9, "backend")],
        ends=[(1.9001, "backend", 2)],
        restarts_itself=restarts_itself,
    )
    assert verdict.outcome is Outcome.FAILED
    assert verdict.reason == "it exited with code 2"
    assert clock.seconds < 3.1


def test_a_start_that_the_request_itself_ends_is_not_the_new_one():
    """In a crash loop the runtime may start the old process once more while it is being asked."""
    [verdict], listener, _ = play(
        lines=[line(1.1, "old again"), *BOOT],
        starts=[(1.0, "backend"), (1.7, "backend")],
        ends=[(1.5, "backend", 143)],
        answered_at=1.8,  # a request to restart returns after the start that it makes
        answers=[(5.0, READY)],
    )
    assert verdict.outcome is Outcome.HEALTHY
    assert verdict.started_at == moment(1.7)
    assert "old again" not in listener.lines


def test_a_start_that_ends_within_the_stability_window_has_failed():
    [verdict], _, _ = play(
        lines=BOOT,
        starts=[(1.9, "backend")],
        ends=[(5.5, "backend", 137)],
        answers=[(0, None), (4.0, READY)],
    )
    assert verdict.outcome is Outcome.FAILED
    assert "137" in verdict.reason


def test_a_restart_in_between_two_looks_is_noticed():
    [verdict], _, _ = play(
        lines=BOOT,
        starts=[(1.9, "backend"), (5.51, "backend")],
        answers=[(0, None), (4.0, READY)],
    )
    assert verdict.outcome is Outcome.FAILED


def test_a_schema_that_is_not_current_is_degraded():
    answer = (503, body(migrations="failed", ok=True))
    [verdict], _, _ = play(lines=BOOT, starts=[(1.9, "backend")], answers=[(4.0, answer)])
    assert verdict.outcome is Outcome.DEGRADED
    assert "migrations: failed" in verdict.reason


def test_a_migration_that_fails_is_told_with_its_cause_and_its_own_lines():
    boot = [
        *BOOT[:4],
        line(3.0, '[entrypoint] Cause: 0004_shinvoke_stack.py:9: relation "shops" does not exist'),
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
    assert verdict.reason.endswith('0004_shinvoke_stack.py:9: relation "shops" does not exist')
    assert "Migrations did not complete" in verdict.evidence[-1].text
    assert "fix the migration" in verdict.remedy


def test_a_schema_that_is_unknown_for_a_moment_is_not():
    answer = (503, body(migrations="unknown"))
    [verdict], _, _ = play(
        lines=BOOT, starts=[(1.9, "backend")], answers=[(4.0, answer), (5.0, READY)]
    )
    assert verdict.outcome is Outcome.HEALTHY


def test_restart_is_unknown_when_nothing_can_be_asked():
    [verdict], _, clock = play(lines=BOOT, starts=[(1.9, "backend")], answers=[(0, "no program")])
    assert (verdict.outcome, verdict.reason) == (Outcome.UNKNOWN, "no program")
    assert verdict.health.state is State.UNKNOWN
    assert "inv health --url" in verdict.remedy
    assert clock.seconds == pytest.approx(1.9 + start.STABLE_FOR, abs=0.3)


def test_restart_ignores_a_moment_in_which_nothing_can_be_asked():
    [verdict], _, _ = play(
        lines=BOOT, starts=[(1.9, "backend")], answers=[(0, "engine away"), (3.5, READY)]
    )
    assert verdict.outcome is Outcome.HEALTHY


def test_restart_is_unknown_when_the_address_is_of_this_machine_and_the_service_is_not():
    [verdict], _, _ = play(
        readiness=Readiness("http://127.0.0.1:8000/healthz"),
        lines=BOOT,
        starts=[(1.9, "backend")],
    )
    assert verdict.outcome is Outcome.UNKNOWN
    assert "127.0.0.1:8000" in verdict.reason
    assert verdict.reason.endswith("set stack.ready in invoke.yaml to a path: /healthz")


def test_a_database_that_stays_away_has_failed_after_a_while():
    answer = (503, body(db=False, ok=False, migrations="unknown"))
    [verdict], _, clock = play(lines=BOOT, starts=[(1.9, "backend")], answers=[(4.0, answer)])
    assert verdict.outcome is Outcome.FAILED
    assert verdict.reason == "the database does not answer"
    assert clock.seconds == pytest.approx(4.0 + start.SETTLE_FOR, abs=0.3)


def test_a_start_that_takes_too_long_says_what_it_was_waiting_for():
    waits = [line(2.0, "[entrypoint] Waiting for Postgres at a:1...")]
    answer = (503, body(phase="waiting", db=False, ok=False))
    [verdict], listener, _ = play(
        timeout=20, lines=waits, starts=[(1.9, "backend")], answers=[(2.0, answer)]
    )
    assert verdict.outcome is Outcome.TIMEOUT
    assert "backend: database" in verdict.reason
    assert "postgres" in verdict.remedy
    what, since, limit = listener.waits[-1]
    assert (what, limit) == ("backend: database", 20)
    assert since == pytest.approx(20, abs=0.3)


def test_every_replica_gets_a_verdict_of_its_own():
    verdicts, _, _ = play(
        replica_names=("backend-1", "backend-2"),
        lines=[each._replace(replica="backend-1") for each in BOOT],
        starts=[(1.9, "backend-1"), (2.5, "backend-2")],
        ends=[(3.0, "backend-2", 1)],
        answers=[(4.0, READY)],
    )
    assert {v.replica: v.outcome for v in verdicts} == {
        "backend-1": Outcome.HEALTHY,
        "backend-2": Outcome.FAILED,
    }


def test_lines_of_the_new_start_that_come_before_it_is_seen_are_not_lost():
    early = [line(1.9, "[entrypoint] first"), line(1.0, "old")]
    _, listener, _ = play(lines=early, starts=[(1.9, "backend")], answers=[(0, None), (3.0, READY)])
    assert listener.lines == ["[entrypoint] first"]


def test_a_restart_that_cannot_be_asked_for_is_an_error():
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
            reporter=Listener(),
            clock=clock,
        )
