"""When the watchdog stops the application, and the restart count that survives it."""

import os

import pytest
from app.boot.watchdog import MAX_LIMIT, CheckResult, FailureTimer, RestartCount

HEALTHY = CheckResult(live=True, healthy=True, details="HTTP 200")
UNHEALTHY = CheckResult(live=True, healthy=False, details="HTTP 503, no answer from database")
HUNG = CheckResult(live=False, healthy=False, details="no answer")


def reasons(timer, *results, interval=5.0):
    return [timer.add(result, interval) for result in results]


def test_watchdog_reports_the_reason_at_the_health_limit():
    timer = FailureTimer(health_after=300, live_after=30, restarts=0, interval=5)
    *before, last = reasons(timer, *[UNHEALTHY] * 60)
    assert not any(before)
    assert last == "/health has failed for 300s (HTTP 503, no answer from database)"


def test_watchdog_stops_a_hung_application_at_the_live_limit():
    timer = FailureTimer(health_after=300, live_after=30, restarts=5, interval=5)
    *before, last = reasons(timer, *[HUNG] * 6)
    assert not any(before)
    assert last == "/live has not answered for 30s"


def test_watchdog_resets_after_one_success():
    timer = FailureTimer(health_after=20, live_after=10, restarts=0, interval=5)
    assert not any(reasons(timer, *[UNHEALTHY, UNHEALTHY, UNHEALTHY, HEALTHY] * 5))
    assert not any(reasons(timer, HUNG, UNHEALTHY, HEALTHY))


@pytest.mark.parametrize(
    ("restarts", "limit"), [(0, 300), (1, 600), (3, 2400), (4, MAX_LIMIT), (32, MAX_LIMIT)]
)
def test_watchdog_limit_doubles_up_to_an_hour(restarts, limit):
    assert FailureTimer(300, 30, restarts, 5).health_limit == limit


def test_watchdog_keeps_a_configured_limit_above_an_hour():
    assert FailureTimer(7200, 30, 2, 5).health_limit == 7200


def test_watchdog_limit_resets_when_healthy():
    timer = FailureTimer(300, 30, 3, 5)
    timer.add(HEALTHY, 5)
    assert (timer.restarts, timer.health_limit) == (0, 300)


@pytest.mark.parametrize("result", [UNHEALTHY, HUNG])
def test_watchdog_limit_of_zero_is_off(result):
    assert not any(reasons(FailureTimer(0, 0, 0, 5), *[result] * 1000))


def test_watchdog_ignores_time_in_which_the_machine_was_frozen():
    timer = FailureTimer(300, 30, 0, 5)
    assert timer.add(HUNG, 86400) == ""


def test_restart_count_is_persistent(tmp_path):
    assert RestartCount(tmp_path).read() == 0
    RestartCount(tmp_path).write(3)
    assert RestartCount(tmp_path).read() == 3


@pytest.mark.parametrize("text", ["", "many", "-5", "1e99", "\x00"])
def test_restart_count_is_zero_when_the_file_is_invalid(tmp_path, text):
    RestartCount(tmp_path).write(1)
    next(tmp_path.glob("watchdog-*")).write_text(text)
    assert RestartCount(tmp_path).read() == 0


def test_restart_count_warns_when_the_folder_is_not_writable(tmp_path, capfd):
    RestartCount(tmp_path / "missing").write(1)
    assert "[entrypoint] WARNING: STATE_DIR" in capfd.readouterr().out


def test_restart_count_deletes_old_files_of_other_containers(tmp_path):
    old, recent = tmp_path / "watchdog-old", tmp_path / "watchdog-recent"
    for file in (old, recent):
        file.write_text("2\n")
    os.utime(old, (0, 0))
    RestartCount(tmp_path).write(1)
    assert not old.exists()
    assert recent.exists()
