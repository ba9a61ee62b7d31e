"""The last boot is found in the log, however much was said since, and read only once."""

from pathlib import Path

from deal_scout_profile import PROFILE
from invoke_stack import config
from invoke_stack.commands import status
from invoke_stack.commands.session import Session
from invoke_stack.model import Answer, Phase, Replica, Status
from tests.support.fakes import line, moment

BOOT = [
    line(1, "[entrypoint] Waiting for Postgres at postgres:5432..."),
    line(2, "[entrypoint] ✓ DB connectivity check complete."),
    line(2, "[entrypoint] Starting Uvicorn application..."),
    line(3, "INFO:     Application startup complete."),
]
PHASES = (Phase("database", 1.0, 1, "answered"), Phase("application", 1.0, 1, "serving"))


class Said:
    """A runtime with one backend and these lines."""

    name = "said"

    def __init__(self, lines, started=0.5):
        self.lines, self.started, self.asked = lines, started, []

    def services(self):
        return ("backend",)

    def replicas(self, service=None, *, probe=True):
        start = moment(self.started)
        return [Replica("backend", "backend", "node", Status.RUNNING, "healthy", start)]

    def get(self, replica, path, timeout):
        return Answer("", None, {}, 0.0, "no answer")

    def history(self, services, *, tail, since, say):
        self.asked.append((tail, since))
        lines = [each for each in self.lines if not since or each.time >= since]
        return iter(lines if tail is None else lines[-tail:])


def glances(runtime):
    configured = config.load(Path("nowhere"), config.DEFAULTS, {}, profile=PROFILE)
    return status.StatusPoller(Session(configured, runtime, print))


def test_a_boot_that_is_over_is_read_once():
    runtime = Said(BOOT)
    looks = glances(runtime)
    for _ in range(2):
        assert looks.look().boots["backend"].phases == PHASES
    assert len(runtime.asked) == 1
    runtime.started = 10  # a new start, of which nothing is told yet
    assert looks.look().boots == {}


def test_a_boot_is_found_behind_all_that_was_said_since():
    runtime = Said(BOOT + [line(4 + n / 1000, "GET /deals") for n in range(3 * status.LINES)])
    assert glances(runtime).look().boots["backend"].phases == PHASES
    assert [tail for tail, _ in runtime.asked] == [status.LINES, None]


def test_a_boot_that_the_log_has_lost_is_not_looked_for_again():
    runtime = Said([line(4 + n / 1000, "GET /deals") for n in range(3 * status.LINES)])
    looks = glances(runtime)
    assert looks.look().boots == looks.look().boots == {}
    assert len(runtime.asked) == 2


def test_a_boot_that_lasts_is_told_until_now():
    [phase] = glances(Said(BOOT[:1])).look().boots["backend"].phases
    assert (phase.name, phase.outcome) == ("database", "")
    assert phase.seconds > 0
