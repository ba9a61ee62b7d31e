"""The last boot is found in the log, however many lines follow it, and read only once."""

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


class FakeRuntime:
    """A runtime with one backend and these log lines."""

    name = "fake"

    def __init__(self, lines, started=0.5):
        self.lines, self.started, self.requests = lines, started, []

    def services(self):
        return ("backend",)

    def replicas(self, service=None, *, probe=True):
        start = moment(self.started)
        return [Replica("backend", "backend", "node", Status.RUNNING, "healthy", start)]

    def get(self, replica, path, timeout):
        return Answer("", None, {}, 0.0, "no answer")

    def history(self, services, *, tail, since, say):
        self.requests.append((tail, since))
        lines = [entry for entry in self.lines if not since or entry.time >= since]
        return iter(lines if tail is None else lines[-tail:])


def make_poller(runtime):
    loaded = config.load(Path("nowhere"), config.DEFAULTS, {}, profile=PROFILE)
    return status.StatusPoller(Session(loaded, runtime, print))


def test_status_reads_a_finished_boot_once():
    runtime = FakeRuntime(BOOT)
    poller = make_poller(runtime)
    for _ in range(2):
        assert poller.poll().boots["backend"].phases == PHASES
    assert len(runtime.requests) == 1
    runtime.started = 10  # a new start without any line yet
    assert poller.poll().boots == {}


def test_status_finds_a_boot_before_many_other_lines():
    runtime = FakeRuntime(
        BOOT + [line(4 + n / 1000, "GET /deals") for n in range(3 * status.LINES)]
    )
    assert make_poller(runtime).poll().boots["backend"].phases == PHASES
    assert [tail for tail, _ in runtime.requests] == [status.LINES, None]


def test_status_does_not_read_the_log_again_when_the_boot_was_rotated_away():
    runtime = FakeRuntime([line(4 + n / 1000, "GET /deals") for n in range(3 * status.LINES)])
    poller = make_poller(runtime)
    assert poller.poll().boots == poller.poll().boots == {}
    assert len(runtime.requests) == 2


def test_status_counts_an_unfinished_phase_until_now():
    [phase] = make_poller(FakeRuntime(BOOT[:1])).poll().boots["backend"].phases
    assert (phase.name, phase.outcome) == ("database", "")
    assert phase.seconds > 0
