"""The collector as a process, and the reader of its files."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from harness.servers import wait_until
from harness.stacks import ROOT
from invoke_stack.runtimes.local import collector, journal
from tests.support.fakes import stamp


@pytest.fixture
def folders(tmp_path):
    pipes, logs = tmp_path / "pipes", tmp_path / "logs"
    pipes.mkdir()
    logs.mkdir()
    for service in ("web", "db"):
        for stream in ("stdout", "stderr"):
            os.mkfifo(pipes / f"{service}.{stream}")
    # Services hold their pipes open as long as they run.
    held = [os.open(pipe, os.O_RDWR) for pipe in pipes.iterdir()]
    yield pipes, logs
    for fd in held:
        os.close(fd)


class Collecting:
    """The collector, to start, kill and end."""

    def __init__(self, pipes, logs):
        self.command = [sys.executable, "-m", "invoke_stack.runtimes.local.collector", pipes, logs]
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, cwd=ROOT)

    def end(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.wait(10)


@pytest.fixture
def collecting(folders):
    running = Collecting(*folders)
    yield running
    running.end(signal.SIGKILL)


def write(pipe, data):
    fd = os.open(pipe, os.O_RDWR)
    try:
        while data:
            data = data[os.write(fd, data) :]
    finally:
        os.close(fd)


def followers(logs, *services):
    return [journal.Follower(logs, service, "node") for service in services]


def texts(logs, *services, tail=None, since=None):
    found = journal.history(followers(logs, *services), tail=tail, since=since)
    return [(line.service, line.stream, line.text) for line in found]


def test_lines_of_both_streams_are_filed_with_their_time(folders, collecting):
    pipes, logs = folders
    write(pipes / "web.stdout", b"one\ntwo\n")
    wait_until("two lines", lambda: len(texts(logs, "web")) == 2)
    write(pipes / "web.stderr", b"bad \xff byte\n")
    wait_until("three lines", lambda: len(texts(logs, "web")) == 3)
    assert texts(logs, "web") == [
        ("web", "stdout", "one"),
        ("web", "stdout", "two"),
        ("web", "stderr", "bad � byte"),
    ]
    times = [line.time for line in journal.history(followers(logs, "web"), tail=None, since=None)]
    assert times == sorted(times)
    assert len(times[0]) == len("2026-01-01T00:00:00.000000000Z")


def test_what_is_written_while_the_collector_is_dead_is_not_lost(folders, collecting):
    pipes, logs = folders
    write(pipes / "web.stdout", b"before\n")
    wait_until("a line", lambda: texts(logs, "web"))
    collecting.end(signal.SIGKILL)
    write(pipes / "web.stdout", b"meanwhile\n")
    collecting.start()
    write(pipes / "web.stdout", b"after\n")
    wait_until("all lines", lambda: len(texts(logs, "web")) == 3)
    assert [text for _, _, text in texts(logs, "web")] == ["before", "meanwhile", "after"]


def test_the_end_of_the_collector_files_what_is_left(folders, collecting):
    pipes, logs = folders
    write(pipes / "web.stdout", b"first\n")
    wait_until("it reads", lambda: texts(logs, "web"))
    write(pipes / "web.stdout", b"no newline")
    collecting.end()
    assert texts(logs, "web")[-1] == ("web", "stdout", "no newline")


def test_a_line_without_end_is_filed_in_parts(folders, collecting):
    pipes, logs = folders
    write(pipes / "web.stdout", b"x" * 300_000 + b"\n")
    wait_until("all of it", lambda: sum(len(t) for _, _, t in texts(logs, "web")) == 300_000)


def make(logs, service, *lines):
    with (logs / f"{service}.log").open("a", encoding="utf-8") as file:
        for second, text in lines:
            file.write(f"2026-01-01T00:00:{second:012.9f}Z stdout {text}\n")


def test_services_are_merged_by_time_and_tail_counts_all_of_them(folders):
    _, logs = folders
    make(logs, "web", (1, "w1"), (3, "w3"), (5, "w5"))
    make(logs, "db", (2, "d2"), (4, "d4"))
    assert [text for _, _, text in texts(logs, "web", "db")] == ["w1", "d2", "w3", "d4", "w5"]
    assert [text for _, _, text in texts(logs, "web", "db", tail=3)] == ["w3", "d4", "w5"]
    assert texts(logs, "web", "db", tail=0) == []
    since = "2026-01-01T00:00:03.000000000Z"
    assert [text for _, _, text in texts(logs, "web", "db", since=since)] == ["w3", "d4", "w5"]


def test_the_tail_of_rotated_files_goes_back_into_the_older_ones(folders):
    _, logs = folders
    make(logs, "web", (1, "a"), (2, "b"))
    (logs / "web.log").rename(logs / "web.log.1")
    make(logs, "web", (3, "c"))
    assert [text for _, _, text in texts(logs, "web", tail=2)] == ["b", "c"]
    assert [text for _, _, text in texts(logs, "web")] == ["a", "b", "c"]


@pytest.mark.parametrize("length", [50, 70_000])
def test_since_finds_its_place_in_long_files(folders, length):
    _, logs = folders
    count = 600 if length > 1000 else 20_000
    lines = [
        (i * 40 // count, f"{i} " + "y" * (length if i % 7 == 0 else 50)) for i in range(count)
    ]
    make(logs, "web", *lines[: count // 2])
    (logs / "web.log").rename(logs / "web.log.1")
    make(logs, "web", *lines[count // 2 :])
    for second in (0, 1, 10, 19, 20, 21, 38, 39, 40):
        expected = [text for at, text in lines if at >= second]
        found = texts(logs, "web", since=stamp(second))
        assert [text for _, _, text in found] == expected


def test_a_long_tail_is_exact(folders):
    _, logs = folders
    make(logs, "web", *((i / 1000, f"{i} " + "y" * 50) for i in range(20_000)))
    found = texts(logs, "web", tail=12_345)
    assert len(found) == 12_345
    assert found[0][2].startswith("7655 ")


def test_following_across_rotations_shows_every_line_once(folders, monkeypatch):
    _, logs = folders
    monkeypatch.setattr(collector, "MAX_BYTES", 5_000)
    lines = journal.follow(followers(logs, "web"), tail=0, since=None)
    assert next(lines) is None
    book = collector.Journal(logs / "web.log")
    clock = collector.Clock()
    seen = []

    def fill():
        for number in range(2_000):
            book.write(clock.stamp() + f" stdout {number}\n".encode())
            if number % 20 == 0:
                pause.wait(0.002)  # give the reader its turns, as real services do

    pause = threading.Event()
    writer = threading.Thread(target=fill)
    writer.start()
    last_turn = False
    for line in lines:
        if line is not None:
            seen.append(int(line.text))
        elif last_turn:
            break
        else:
            last_turn = not writer.is_alive()
    assert seen == list(range(2_000))
