"""What status and health show: in any width, without cutting, and honest when nothing can be seen."""

import io
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from deal_scout_profile import PROFILE
from invoke_stack.cli.screen import cards, frame, grid, pulse, table
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


def replica(service, **more):
    return Replica(
        service=service,
        replica=more.pop("name", service),
        node=more.pop("node", "one"),
        status=more.pop("status", Status.RUNNING),
        health=more.pop("health", "healthy"),
        started_at=moment(0),
        image="deal-scout-backend:latest",
        ports=("127.0.0.1:29386",) if service != "worker" else (),
        **more,
    )


SEEN = Snapshot(
    "local",
    NAMES,
    tuple(replica(name) for name in NAMES),
    Schema("0003_deals_newest", "0003_deals_newest", ()),
    {"backend": BOOT},
)


def shown(seen, width=80, after=200):
    return [line.plain for line in table.status_lines(seen, moment(after), width)]


def test_status_in_full():
    assert shown(SEEN)[:3] == [
        "SERVICE   STATE    UP      RESTARTS  PORT   IMAGE",
        "postgres  healthy  3m 20s  0         29386  deal-scout-backend:latest",
        "redis     healthy  3m 20s  0         29386  deal-scout-backend:latest",
    ]
    assert shown(SEEN)[-2:] == [
        "schema: 0003_deals_newest, current",
        "last boot: database 0.5s, migrations 7.1s, application 1.3s",
    ]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_status_fits_and_nothing_is_cut(width):
    lines = shown(SEEN, width)
    assert all(len(line) <= width for line in lines)
    assert not any("…" in line for line in lines)
    assert lines[0].endswith("IMAGE") == (width >= 80)


def test_nodes_are_shown_when_there_are_several():
    assert "NODE" not in shown(SEEN)[0]
    two = (replica("backend", name="backend-1"), replica("backend", name="backend-2", node="two"))
    lines = shown(replace(SEEN, services=("backend",), replicas=two, boots={"backend-2": BOOT}))
    assert lines[0].split() == ["SERVICE", "STATE", "UP", "RESTARTS", "PORT", "NODE", "IMAGE"]
    assert lines[2].split()[-2] == "two"
    assert lines[-1].startswith("last boot of backend-2: ")


def test_what_is_wrong_is_told_below():
    ended = replica("backend", status=Status.EXITED, exit_code=3, reason="exit code 3")
    past = replica("worker", reason="it ran out of memory at 01:02:03 UTC and was restarted")
    lines = shown(replace(SEEN, services=("backend", "worker", "beat"), replicas=(ended, past)))
    assert lines[1].split()[:3] == ["backend", "exited", "(3)"]
    assert lines[3].split() == ["beat", "absent"]
    assert "✗ backend: exit code 3" in lines
    assert "! worker: it ran out of memory at 01:02:03 UTC and was restarted" in lines


@pytest.mark.parametrize(
    ("phase", "health", "told"),
    [
        (Phase("database", 60.1, 60, "timed out"), "healthy", "60.1s timed out after 60 attempts"),
        (Phase("migrations", 4.0, 2, "applied"), "healthy", "migrations 4.0s in 2 attempts"),
        (Phase("migrations", 4.0, 3, ""), "starting", "migrations 4.0s so far, attempt 3"),
        (Phase("greeting", 0.0, 1, ""), None, "greeting serving"),
    ],
)
def test_a_boot_that_is_not_plain(phase, health, told):
    one = (replica("backend", health=health),)
    [line] = table.boot_line("backend", Boot((phase,)), one).plain.splitlines()
    assert line.startswith("last boot: ")
    assert line.endswith(told)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59.9, "59s"), (60, "1m"), (192, "3m 12s"), (7200, "2h"), (200000, "2d 7h")],
)
def test_durations(seconds, text):
    assert grid.span(seconds) == text


# Watching


def console(width, height):
    return Console(file=io.StringIO(), width=width, height=height)


def look(state=State.HEALTHY, at=0.0, latency=5.0, name="backend", **more):
    if state in (State.HEALTHY, State.DEGRADED):
        answered = body()
        more = {"details": PROFILE.assess(Answer("", 200, answered, 0.0)).details, **more}
    else:
        answered = {}
    return Health("backend", name, "one", state, "", 200, latency, moment(at), answered, **more)


def test_a_sight_knows_since_when_it_sees_nothing():
    poll_state = PollState()
    poll_state.take("a", moment(0))
    for second in (1, 2):
        poll_state.take(OutOfReach("no engine", "start it"), moment(second))
    assert (poll_state.seen, poll_state.value_at, poll_state.failing_since) == (
        "a",
        moment(0),
        moment(1),
    )
    assert poll_state.polled_at == moment(2)
    poll_state.take("b", moment(9))
    assert (poll_state.seen, poll_state.problem, poll_state.failing_since) == ("b", None, None)
    assert (poll_state.recovered_at, poll_state.outage_seconds) == (moment(9), 8.0)


def framed(poll_state, now, lines=(), width=60, height=12, asked_at=None):
    shown = frame.screen(
        console(width, height),
        *("title", poll_state, lines),
        now=moment(now),
        asked_at=asked_at,
        how_to_end="q quits",
    )
    return [line.plain for line in shown]


def test_a_watch_says_that_it_lives_and_what_is_away():
    poll_state = PollState()
    poll_state.take("a", moment(0))
    lines = framed(poll_state, 1)
    assert lines[0].split() == ["title", "00:00:01", "UTC"]
    assert lines[-1].split() == ["looked", "at", "00:00:00,", "every", "second", "q", "quits"]
    poll_state.take(OutOfReach("no engine answers", "start it"), moment(1))
    lines = framed(poll_state, 5)
    assert lines[1:4] == [
        "✗ out of reach since 00:00:01 (4s): no engine answers",
        "  start it",
        "  still looking; below is what was seen at 00:00:00",
    ]
    assert lines[-1].startswith("looked at 00:00:01")
    poll_state.take("b", moment(9))
    assert framed(poll_state, 10)[1] == "✓ back since 00:00:09, after 8s"
    assert framed(poll_state, 60)[1] == ""
    assert framed(poll_state, 20, asked_at=moment(10))[-1].startswith("looking for 10s now")


@settings(deadline=None)
@given(
    width=st.integers(2, 130),
    height=st.integers(1, 40),
    texts=st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=90)),
)
def test_a_screen_has_the_size_of_its_window(width, height, texts):
    poll_state = PollState()
    poll_state.take(OutOfReach("nothing answers", "start it"), moment(1))
    lines = frame.screen(
        console(width, height),
        *("title", poll_state, [Text(text) for text in texts]),
        now=moment(2),
        asked_at=None,
        how_to_end="q quits",
    )
    assert len(lines) <= height
    assert all(line.cell_len <= width for line in lines)


def test_what_is_too_long_goes_on_below():
    poll_state = PollState()
    poll_state.take("a", moment(0))
    lines = framed(poll_state, 1, [Text("one two three four five")], width=20)
    assert [line.rstrip() for line in lines[2:4]] == ["one two three", "    four five"]


def test_a_window_that_is_too_small_says_so():
    poll_state = PollState()
    poll_state.take("a", moment(0))
    lines = framed(poll_state, 1, [Text(f"line {number}") for number in range(30)], height=8)
    assert len(lines) == 8
    assert "… 27 more lines: the window is small" in lines


def test_health_over_time():
    history = History()
    for second, state in enumerate(
        [State.HEALTHY, State.HEALTHY, State.UNHEALTHY, State.UNREACHABLE, State.HEALTHY]
    ):
        latency = None if state is State.UNREACHABLE else 10.0 * second
        reason = "the database does not answer" if state is State.UNHEALTHY else ""
        history.add([look(state, second, latency, reason=reason)])
    lines = pulse.pulse_lines(history, [look()], moment(6), 80)
    assert [line.plain for line in lines] == [
        "✓ backend is healthy for 2s · latency 40 ms, 0 to 40 ms shown",
        "  ▁▃✗×█",
        "  DB ok · Redis ok · queue 0 · schema current",
        "",
        "changes (UTC)",
        "  00:00:04  ✓ healthy, after 1s unreachable",
        "  00:00:03  ✗ unreachable, after 1s unhealthy",
        "  00:00:02  ✗ unhealthy, after 2s healthy: the database does not answer",
        "  00:00:00  ✓ healthy at the first look",
    ]


def test_a_state_that_is_unknown_has_a_mark_of_its_own():
    history = History()
    history.add([look()])
    history.add([look(State.UNKNOWN, 5, None, reason="no program to ask with")])
    lines = [line.plain for line in pulse.pulse_lines(history, [], moment(7), 80)]
    assert lines[0].startswith("? backend is unknown for 2s")
    assert lines[1].endswith("?")
    assert "  00:00:05  ? unknown, after 5s healthy: no program to ask with" in lines


def test_an_unknown_state_is_shown_with_its_reason():
    unknown = replace(
        look(State.UNKNOWN, 0, None),
        url="",
        http_status=None,
        body={},
        details=(),
        reason="no program",
    )
    console = Console(file=io.StringIO(), width=80)
    cards.health_text(console, unknown, "compose")
    assert console.file.getvalue().splitlines() == [
        "? backend is unknown (no program)",
        "  not asked, compose",
    ]
    shown = documents.health_json([unknown], unknown, "compose")
    assert (shown["state"], shown["reason"]) == ("unknown", "no program")
    assert "reason" not in documents.health_json([look()], look(), "compose")


def test_an_answer_through_the_engine_says_so():
    console = Console(file=io.StringIO(), width=80)
    answered = replace(look(), url="http://127.0.0.1:8000/ready", through_engine=True)
    cards.health_text(console, answered, "compose")
    assert "http://127.0.0.1:8000/ready through the engine in " in console.file.getvalue()


def test_health_look_after_look():
    history = History()
    history.add([look()])
    history.add([look(State.UNREACHABLE, 5, None, reason="no answer within 3 s")])
    [line] = pulse.news_lines(history, [look(State.UNREACHABLE, 5, None)], moment(7))
    assert line.plain == "✗ backend is unreachable for 2s: no answer within 3 s"


@pytest.mark.parametrize("width", [60, 80, 120])
def test_several_replicas_have_a_row_each(width):
    history = History()
    for second in range(200):
        history.add([look(at=second, name=f"backend-{n}") for n in (1, 2)])
    history.add(
        [
            look(name="backend-1", at=200),
            look(State.UNREACHABLE, 200, None, "backend-2"),
        ]
    )
    looks = [look(name="backend-1"), replace(look(name="backend-2"), node="the-other-node")]
    lines = [line.plain for line in pulse.pulse_lines(history, looks, moment(201), width)]
    assert all(len(line) <= width for line in lines[:4])
    heads = ["REPLICA", "STATE", "FOR", "LATENCY", "NODE"]
    assert lines[0].split() == (heads if width > 60 else heads[:-1])
    assert lines[1].split()[:6] == ["✓", "backend-1", "healthy", "3m", "21s", "5"]
    assert ("the-other-node" in lines[2]) == (width > 60)
    assert lines[2].endswith("▃×")
    assert "backend-2 is unreachable, after 3m 20s healthy" in "\n".join(lines)


def test_when_the_stack_is_away_every_replica_is():
    history = History()
    history.add([look()])
    history.lose(moment(0) + timedelta(seconds=5), "no engine answers")
    assert history.tracks["backend"].last.state is State.UNREACHABLE
    assert [change.state for change in history.changes] == [State.HEALTHY, State.UNREACHABLE]
