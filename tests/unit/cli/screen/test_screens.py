"""The screens of `status` and `health`, at any width, and while the stack cannot be reached."""

import io
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from deal_scout_profile import PROFILE
from invoke_stack.cli.screen import columns, frame, summary, table, timeline
from invoke_stack.commands.history import History
from invoke_stack.commands.poll_state import PollState
from invoke_stack.errors import OutOfReach
from invoke_stack.model import Answer, Boot, Health, Phase, Replica, Schema, Snapshot, State, Status
from invoke_stack.render import documents
from tests.support.fakes import body, moment

NAMES = ("postgres", "redis", "backend", "worker", "beat", "frontend")
BOOT = Boot(
    (
        Phase("database", 0.5, 1, "answered"),
        Phase("migrations", 7.1, 1, "applied"),
        Phase("application", 1.3, 1, "serving"),
    )
)


def replica(service, **fields):
    return Replica(
        service=service,
        replica=fields.pop("name", service),
        node=fields.pop("node", "one"),
        status=fields.pop("status", Status.RUNNING),
        health=fields.pop("health", "healthy"),
        started_at=moment(0),
        image="deal-scout-backend:latest",
        ports=("127.0.0.1:29386",) if service != "worker" else (),
        **fields,
    )


SNAPSHOT = Snapshot(
    "local",
    NAMES,
    tuple(replica(name) for name in NAMES),
    Schema("0003_deals_newest", "0003_deals_newest", ()),
    {"backend": BOOT},
)


def status_texts(snapshot, width=80, after=200):
    return [line.plain for line in table.status_lines(snapshot, moment(after), width)]


def test_status_shows_services_schema_and_boot():
    assert status_texts(SNAPSHOT)[:3] == [
        "SERVICE   STATE    UP      RESTARTS  PORT   IMAGE",
        "postgres  healthy  3m 20s  0         29386  deal-scout-backend:latest",
        "redis     healthy  3m 20s  0         29386  deal-scout-backend:latest",
    ]
    assert status_texts(SNAPSHOT)[-2:] == [
        "schema: 0003_deals_newest, current",
        "last boot: database 0.5s, migrations 7.1s, application 1.3s",
    ]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_status_fits_the_width_without_cutting_text(width):
    lines = status_texts(SNAPSHOT, width)
    assert all(len(line) <= width for line in lines)
    assert not any("…" in line for line in lines)
    assert lines[0].endswith("IMAGE") == (width >= 80)


def test_status_shows_nodes_when_there_are_several():
    assert "NODE" not in status_texts(SNAPSHOT)[0]
    two = (replica("backend", name="backend-1"), replica("backend", name="backend-2", node="two"))
    snapshot = replace(SNAPSHOT, services=("backend",), replicas=two, boots={"backend-2": BOOT})
    lines = status_texts(snapshot)
    assert lines[0].split() == ["SERVICE", "STATE", "UP", "RESTARTS", "PORT", "NODE", "IMAGE"]
    assert lines[2].split()[-2] == "two"
    assert lines[-1].startswith("last boot of backend-2: ")


def test_status_lists_reasons_below_the_table():
    exited = replica("backend", status=Status.EXITED, exit_code=3, reason="exit code 3")
    restarted = replica("worker", reason="it ran out of memory at 01:02:03 UTC and was restarted")
    services = ("backend", "worker", "beat")
    lines = status_texts(replace(SNAPSHOT, services=services, replicas=(exited, restarted)))
    assert lines[1].split()[:3] == ["backend", "exited", "(3)"]
    assert lines[3].split() == ["beat", "absent"]
    assert "✗ backend: exit code 3" in lines
    assert "! worker: it ran out of memory at 01:02:03 UTC and was restarted" in lines


@pytest.mark.parametrize(
    ("phase", "health", "text"),
    [
        (Phase("database", 60.1, 60, "timed out"), "healthy", "60.1s timed out after 60 attempts"),
        (Phase("migrations", 4.0, 2, "applied"), "healthy", "migrations 4.0s in 2 attempts"),
        (Phase("migrations", 4.0, 3, ""), "starting", "migrations 4.0s so far, attempt 3"),
        (Phase("greeting", 0.0, 1, ""), None, "greeting serving"),
    ],
)
def test_boot_line_shows_failures_attempts_and_progress(phase, health, text):
    replicas = (replica("backend", health=health),)
    [line] = table.boot_line("backend", Boot((phase,)), replicas).plain.splitlines()
    assert line.startswith("last boot: ")
    assert line.endswith(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59.9, "59s"), (60, "1m"), (192, "3m 12s"), (7200, "2h"), (200000, "2d 7h")],
)
def test_format_duration_has_at_most_two_units(seconds, text):
    assert columns.format_duration(seconds) == text


# --watch


def console(width, height):
    return Console(file=io.StringIO(), width=width, height=height)


def health(state=State.HEALTHY, at=0.0, latency=5.0, name="backend", **fields):
    if state in (State.HEALTHY, State.DEGRADED):
        health_body = body()
        details = PROFILE.assess(Answer("", 200, health_body, 0.0)).details
        fields = {"details": details, **fields}
    else:
        health_body = {}
    return Health(
        "backend", name, "one", state, "", 200, latency, moment(at), health_body, **fields
    )


def test_poll_state_records_the_start_and_the_end_of_an_outage():
    poll_state = PollState()
    poll_state.record("a", moment(0))
    for second in (1, 2):
        poll_state.record(OutOfReach("no engine", "start it"), moment(second))
    assert (poll_state.value, poll_state.value_at, poll_state.failing_since) == (
        "a",
        moment(0),
        moment(1),
    )
    assert poll_state.polled_at == moment(2)
    poll_state.record("b", moment(9))
    assert (poll_state.value, poll_state.problem, poll_state.failing_since) == ("b", None, None)
    assert (poll_state.recovered_at, poll_state.outage_seconds) == (moment(9), 8.0)


def frame_texts(poll_state, now, body=(), width=60, height=12, polling_since=None):
    lines = frame.frame_lines(
        console(width, height),
        *("title", poll_state, body),
        now=moment(now),
        polling_since=polling_since,
        quit_hint="q quits",
    )
    return [line.plain for line in lines]


def test_frame_shows_polls_outages_and_recovery():
    poll_state = PollState()
    poll_state.record("a", moment(0))
    lines = frame_texts(poll_state, 1)
    assert lines[0].split() == ["title", "00:00:01", "UTC"]
    assert lines[-1].split() == ["polled", "at", "00:00:00,", "every", "second", "q", "quits"]
    poll_state.record(OutOfReach("no engine answers", "start it"), moment(1))
    lines = frame_texts(poll_state, 5)
    assert lines[1:4] == [
        "✗ unreachable since 00:00:01 (4s): no engine answers",
        "  start it",
        "  retrying; below is the state of 00:00:00",
    ]
    assert lines[-1].startswith("polled at 00:00:01")
    poll_state.record("b", moment(9))
    assert frame_texts(poll_state, 10)[1] == "✓ recovered at 00:00:09 after 8s"
    assert frame_texts(poll_state, 60)[1] == ""
    assert frame_texts(poll_state, 20, polling_since=moment(10))[-1].startswith("polling for 10s")


@settings(deadline=None)
@given(
    width=st.integers(2, 130),
    height=st.integers(1, 40),
    texts=st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=90)),
)
def test_frame_never_exceeds_the_window(width, height, texts):
    poll_state = PollState()
    poll_state.record(OutOfReach("nothing answers", "start it"), moment(1))
    lines = frame.frame_lines(
        console(width, height),
        *("title", poll_state, [Text(text) for text in texts]),
        now=moment(2),
        polling_since=None,
        quit_hint="q quits",
    )
    assert len(lines) <= height
    assert all(line.cell_len <= width for line in lines)


def test_frame_wraps_long_lines():
    poll_state = PollState()
    poll_state.record("a", moment(0))
    lines = frame_texts(poll_state, 1, [Text("one two three four five")], width=20)
    assert [line.rstrip() for line in lines[2:4]] == ["one two three", "    four five"]


def test_frame_counts_hidden_lines_when_the_window_is_too_small():
    poll_state = PollState()
    poll_state.record("a", moment(0))
    lines = frame_texts(poll_state, 1, [Text(f"line {number}") for number in range(30)], height=8)
    assert len(lines) == 8
    assert "… 27 more lines: enlarge the window" in lines


def test_timeline_shows_bars_details_and_changes():
    history = History()
    for second, state in enumerate(
        [State.HEALTHY, State.HEALTHY, State.UNHEALTHY, State.UNREACHABLE, State.HEALTHY]
    ):
        latency = None if state is State.UNREACHABLE else 10.0 * second
        reason = "the database does not answer" if state is State.UNHEALTHY else ""
        history.add([health(state, second, latency, reason=reason)])
    lines = timeline.timeline_lines(history, [health()], moment(6), 80)
    assert [line.plain for line in lines] == [
        "✓ backend is healthy for 2s · latency 40 ms, 0 to 40 ms shown",
        "  ▁▃✗×█",
        "  DB ok · Redis ok · queue 0 · schema current",
        "",
        "changes (UTC)",
        "  00:00:04  ✓ healthy, after 1s unreachable",
        "  00:00:03  ✗ unreachable, after 1s unhealthy",
        "  00:00:02  ✗ unhealthy, after 2s healthy: the database does not answer",
        "  00:00:00  ✓ healthy at the first poll",
    ]


def test_timeline_marks_the_unknown_state():
    history = History()
    history.add([health()])
    history.add([health(State.UNKNOWN, 5, None, reason="no program to ask with")])
    lines = [line.plain for line in timeline.timeline_lines(history, [], moment(7), 80)]
    assert lines[0].startswith("? backend is unknown for 2s")
    assert lines[1].endswith("?")
    assert "  00:00:05  ? unknown, after 5s healthy: no program to ask with" in lines


def test_health_shows_the_reason_of_the_unknown_state():
    unknown = replace(
        health(State.UNKNOWN, 0, None),
        url="",
        http_status=None,
        body={},
        details=(),
        reason="no program",
    )
    console = Console(file=io.StringIO(), width=80)
    summary.print_health(console, unknown, "compose")
    assert console.file.getvalue().splitlines() == [
        "? backend is unknown: no program",
        "  not checked, compose",
    ]
    document = documents.health_json([unknown], unknown, "compose")
    assert (document["state"], document["reason"]) == ("unknown", "no program")
    assert "reason" not in documents.health_json([health()], health(), "compose")


def test_health_shows_when_it_was_checked_through_the_engine():
    console = Console(file=io.StringIO(), width=80)
    through_engine = replace(health(), url="http://127.0.0.1:8000/ready", through_engine=True)
    summary.print_health(console, through_engine, "compose")
    assert "http://127.0.0.1:8000/ready through the engine in " in console.file.getvalue()


def test_latest_lines_show_only_the_last_poll():
    history = History()
    history.add([health()])
    history.add([health(State.UNREACHABLE, 5, None, reason="no answer within 3 s")])
    [line] = timeline.latest_lines(history, [health(State.UNREACHABLE, 5, None)], moment(7))
    assert line.plain == "✗ backend is unreachable for 2s: no answer within 3 s"


@pytest.mark.parametrize("width", [60, 80, 120])
def test_timeline_has_a_row_for_each_replica(width):
    history = History()
    for second in range(200):
        history.add([health(at=second, name=f"backend-{n}") for n in (1, 2)])
    history.add(
        [
            health(name="backend-1", at=200),
            health(State.UNREACHABLE, 200, None, "backend-2"),
        ]
    )
    healths = [health(name="backend-1"), replace(health(name="backend-2"), node="the-other-node")]
    lines = [line.plain for line in timeline.timeline_lines(history, healths, moment(201), width)]
    assert all(len(line) <= width for line in lines[:4])
    headings = ["REPLICA", "STATE", "FOR", "LATENCY", "NODE"]
    assert lines[0].split() == (headings if width > 60 else headings[:-1])
    assert lines[1].split()[:6] == ["✓", "backend-1", "healthy", "3m", "21s", "5"]
    assert ("the-other-node" in lines[2]) == (width > 60)
    assert lines[2].endswith("▃×")
    assert "backend-2 is unreachable, after 3m 20s healthy" in "\n".join(lines)


def test_history_marks_every_replica_unreachable_during_an_outage():
    history = History()
    history.add([health()])
    history.add_failure(moment(0) + timedelta(seconds=5), "no engine answers")
    assert history.tracks["backend"].last.state is State.UNREACHABLE
    assert [change.state for change in history.changes] == [State.HEALTHY, State.UNREACHABLE]
