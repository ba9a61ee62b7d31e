"""The watchdog ends what hangs or stays unhealthy, and whoever runs it starts it anew."""

import signal

import pytest

from harness.servers import wait_until
from tests.faults.inject import frozen

LIMITS = """
HEALTH_RESTART_AFTER=4
LIVE_RESTART_AFTER=2
DB_WAIT_TIMEOUT=1
MIGRATE_DELAYS=0.1
"""


@pytest.fixture(scope="module", autouse=True)
def impatient(stack):
    """Short limits, set as a user sets them: in .env, and then `inv up`."""
    try:
        with stack.setting(LIMITS):
            stack.ok("up")
            yield
    finally:
        stack.ok("up")


def said(stack, text):
    """How often the watchdog said so since the stack is up."""
    return stack.ok("logs", "--tail", "2000", "--grep", "Watchdog").count(text)


def test_f18_a_frozen_application_is_ended_and_comes_back(stack, measured):
    before = stack.service("backend")
    stack.kill("backend", signal.SIGSTOP)
    ended = wait_until("it is started anew", lambda: has_restarted(stack, before), 60)
    healthy = wait_until("it is healthy again", stack.is_healthy, 30)
    assert said(stack, "/live has not answered") == 1
    assert said(stack, "Killing it") == 1
    measured(
        f"with a limit of 2 s: started anew after {ended:.0f} s, healthy {healthy:.0f} s later"
    )


def test_f19_a_long_outage_is_one_restart_and_then_a_doubled_limit(stack, measured):
    before = stack.service("backend")
    with frozen(stack, "postgres"):
        ended = wait_until("it is started anew", lambda: has_restarted(stack, before), 60)
        wait_until("it says so", lambda: said(stack, "may fail for 8s until the next"), 60)
    wait_until("it is healthy again", stack.is_healthy, 60)
    wait_until("the count is forgotten", lambda: said(stack, "healthy again"), 30)
    assert said(stack, "/health has failed for") == 1
    measured(f"with a limit of 4 s: started anew after {ended:.0f} s, the next limit 8 s")


def has_restarted(stack, before):
    now = stack.service("backend")
    return now["started_at"] not in (None, before["started_at"]) and now["restarts"] > 0
