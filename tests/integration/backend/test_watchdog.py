"""When the watchdog ends the application: its judgement, and the count that outlives it."""

import pytest
from app.boot.watchdog import LONGEST, Count, Judge, Look

FINE = Look(live=True, healthy=True, health="HTTP 200")
SICK = Look(live=True, healthy=False, health="HTTP 503, no answer from database")
HUNG = Look(live=False, healthy=False, health="no answer")


def verdicts(judge, *looks, every=5.0):
    return [judge.see(look, every) for look in looks]


def test_it_waits_for_the_limit_and_says_why():
    judge = Judge(health_after=300, live_after=30, restarts=0, every=5)
    *before, last = verdicts(judge, *[SICK] * 60)
    assert not any(before)
    assert last == "/health has failed for 300s (HTTP 503, no answer from database)"


def test_a_hung_application_ends_sooner():
    judge = Judge(health_after=300, live_after=30, restarts=5, every=5)
    *before, last = verdicts(judge, *[HUNG] * 6)
    assert not any(before)
    assert last == "/live has not answered for 30s"


def test_one_good_answer_begins_anew():
    judge = Judge(health_after=20, live_after=10, restarts=0, every=5)
    assert not any(verdicts(judge, *[SICK, SICK, SICK, FINE] * 5))
    assert not any(verdicts(judge, *[HUNG, SICK] * 1, FINE))


@pytest.mark.parametrize(
    ("restarts", "limit"), [(0, 300), (1, 600), (3, 2400), (4, LONGEST), (32, LONGEST)]
)
def test_the_limit_doubles_up_to_an_hour(restarts, limit):
    assert Judge(300, 30, restarts, 5).health_limit == limit


def test_a_longer_limit_of_the_users_own_stays():
    assert Judge(7200, 30, 2, 5).health_limit == 7200


def test_a_healthy_period_halves_it_again():
    judge = Judge(300, 30, 3, 5)
    judge.see(FINE, 5)
    assert (judge.restarts, judge.health_limit) == (0, 300)


@pytest.mark.parametrize("look", [SICK, HUNG])
def test_zero_turns_a_limit_off(look):
    assert not any(verdicts(Judge(0, 0, 0, 5), *[look] * 1000))


def test_time_in_which_everything_was_frozen_does_not_count():
    judge = Judge(300, 30, 0, 5)
    assert judge.see(HUNG, 86400) == ""


def test_the_count_outlives_the_watchdog(tmp_path):
    assert Count(tmp_path).read() == 0
    Count(tmp_path).write(3)
    assert Count(tmp_path).read() == 3


@pytest.mark.parametrize("text", ["", "many", "-5", "1e99", "\x00"])
def test_a_damaged_count_is_none(tmp_path, text):
    Count(tmp_path).write(1)
    next(tmp_path.glob("watchdog-*")).write_text(text)
    assert Count(tmp_path).read() == 0


def test_a_folder_that_cannot_be_written_is_a_warning(tmp_path, capfd):
    Count(tmp_path / "missing").write(1)
    assert "[entrypoint] WARNING: STATE_DIR" in capfd.readouterr().out


def test_counts_of_containers_that_are_gone_are_cleaned_up(tmp_path):
    import os

    old, young = tmp_path / "watchdog-gone", tmp_path / "watchdog-beside"
    for file in (old, young):
        file.write_text("2\n")
    os.utime(old, (0, 0))
    Count(tmp_path).write(1)
    assert not old.exists()
    assert young.exists()
