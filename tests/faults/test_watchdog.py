"""The watchdog kills a backend that hangs or stays unhealthy, and the runtime restarts it."""

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
def short_limits(stack):
    """Apply short limits as a user would: in .env, then `inv up`."""
    try:
        with stack.setting(LIMITS):
            stack.ok("up")
            yield
    finally:
        stack.ok("up")


def count_messages(stack, text):
    """Return how often the watchdog has logged a text since the stack is up."""
    return stack.ok("logs", "--tail", "2000", "--grep", "Watchdog").count(text)


def test_f18_frozen_application_is_killed_and_restarted(stack, measured):
    before = stack.service("backend")
    stack.kill("backend", signal.SIGSTOP)
    restarted = wait_until("it is restarted", lambda: has_restarted(stack, before), 60)
    healthy = wait_until("it is healthy again", stack.is_healthy, 30)
    assert count_messages(stack, "/live has not answered") == 1
    assert count_messages(stack, "Killing it") == 1
    measured(
        f"with a limit of 2 s: restarted after {restarted:.0f} s, healthy {healthy:.0f} s later"
    )


def test_f19_long_outage_causes_one_restart_and_doubles_the_limit(stack, measured):
    before = stack.service("backend")
    with frozen(stack, "postgres"):
        restarted = wait_until("it is restarted", lambda: has_restarted(stack, before), 60)
        wait_until(
            "the next limit is logged",
            lambda: count_messages(stack, "may fail for 8s until the next"),
            60,
        )
    wait_until("it is healthy again", stack.is_healthy, 60)
    wait_until("the limit is reset", lambda: count_messages(stack, "healthy again"), 30)
    assert count_messages(stack, "/health has failed for") == 1
    measured(f"with a limit of 4 s: restarted after {restarted:.0f} s, the next limit 8 s")


def has_restarted(stack, before):
    after = stack.service("backend")
    return after["started_at"] not in (None, before["started_at"]) and after["restarts"] > 0
