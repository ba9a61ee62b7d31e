"""The collector as a process, and the reader of its log files."""

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
    descriptors = [os.open(pipe, os.O_RDWR) for pipe in pipes.iterdir()]
    yield pipes, logs
    for descriptor in descriptors:
        os.close(descriptor)


class Collector:
    """A collector process, to start and to stop."""

    def __init__(self, pipes, logs):
        self.command = [sys.executable, "-m", "invoke_stack.runtimes.local.collector", pipes, logs]
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, cwd=ROOT)

    def stop(self, signal_number=signal.SIGTERM):
        self.process.send_signal(signal_number)
        self.process.wait(10)


@pytest.fixture
def collector_process(folders):
    process = Collector(*folders)
    yield process
    process.stop(signal.SIGKILL)


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
    lines = journal.history(followers(logs, *services), tail=tail, since=since)
    return [(line.service, line.stream, line.text) for line in lines]


def test_collector_writes_both_streams_with_the_time_of_each_line(folders, collector_process):
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


def test_collector_loses_nothing_when_killed(folders, collector_process):
    pipes, logs = folders
    write(pipes / "web.stdout", b"before\n")
    wait_until("a line", lambda: texts(logs, "web"))
    collector_process.stop(signal.SIGKILL)
    write(pipes / "web.stdout", b"meanwhile\n")
    collector_process.start()
    write(pipes / "web.stdout", b"after\n")
    wait_until("all lines", lambda: len(texts(logs, "web")) == 3)
    assert [text for _, _, text in texts(logs, "web")] == ["before", "meanwhile", "after"]


def test_collector_writes_an_unfinished_line_when_stopped(folders, collector_process):
    pipes, logs = folders
    write(pipes / "web.stdout", b"first\n")
    wait_until("the first line", lambda: texts(logs, "web"))
    write(pipes / "web.stdout", b"no newline")
    collector_process.stop()
    assert texts(logs, "web")[-1] == ("web", "stdout", "no newline")


def test_collector_splits_a_very_long_line(folders, collector_process):
    pipes, logs = folders
    write(pipes / "web.stdout", b"x" * 300_000 + b"\n")
    wait_until("all of it", lambda: sum(len(t) for _, _, t in texts(logs, "web")) == 300_000)


def write_log(logs, service, *lines):
    with (logs / f"{service}.log").open("a", encoding="utf-8") as file:
        for second, text in lines:
            file.write(f"2026-01-01T00:00:{second:012.9f}Z stdout {text}\n")


def test_history_merges_services_by_time_and_limits_the_total(folders):
    _, logs = folders
    write_log(logs, "web", (1, "w1"), (3, "w3"), (5, "w5"))
    write_log(logs, "db", (2, "d2"), (4, "d4"))
    assert [text for _, _, text in texts(logs, "web", "db")] == ["w1", "d2", "w3", "d4", "w5"]
    assert [text for _, _, text in texts(logs, "web", "db", tail=3)] == ["w3", "d4", "w5"]
    assert texts(logs, "web", "db", tail=0) == []
    since = "2026-01-01T00:00:03.000000000Z"
    assert [text for _, _, text in texts(logs, "web", "db", since=since)] == ["w3", "d4", "w5"]


def test_history_reads_rotated_files(folders):
    _, logs = folders
    write_log(logs, "web", (1, "a"), (2, "b"))
    (logs / "web.log").rename(logs / "web.log.1")
    write_log(logs, "web", (3, "c"))
    assert [text for _, _, text in texts(logs, "web", tail=2)] == ["b", "c"]
    assert [text for _, _, text in texts(logs, "web")] == ["a", "b", "c"]


@pytest.mark.parametrize("length", [50, 70_000])
def test_history_since_is_exact_in_long_files(folders, length):
    _, logs = folders
    count = 600 if length > 1000 else 20_000
    lines = [
        (i * 40 // count, f"{i} " + "y" * (length if i % 7 == 0 else 50)) for i in range(count)
    ]
    write_log(logs, "web", *lines[: count // 2])
    (logs / "web.log").rename(logs / "web.log.1")
    write_log(logs, "web", *lines[count // 2 :])
    for second in (0, 1, 10, 19, 20, 21, 38, 39, 40):
        expected = [text for at, text in lines if at >= second]
        result = texts(logs, "web", since=stamp(second))
        assert [text for _, _, text in result] == expected


def test_history_tail_is_exact_in_long_files(folders):
    _, logs = folders
    write_log(logs, "web", *((i / 1000, f"{i} " + "y" * 50) for i in range(20_000)))
    result = texts(logs, "web", tail=12_345)
    assert len(result) == 12_345
    assert result[0][2].startswith("7655 ")


def test_follow_yields_every_line_once_across_rotations(folders, monkeypatch):
    _, logs = folders
    monkeypatch.setattr(collector, "MAX_BYTES", 5_000)
    lines = journal.follow(followers(logs, "web"), tail=0, since=None)
    assert next(lines) is None
    log = collector.Journal(logs / "web.log")
    clock = collector.Clock()
    numbers = []

    def write_lines():
        for number in range(2_000):
            log.write(clock.stamp() + f" stdout {number}\n".encode())
            if number % 20 == 0:
                pause.wait(0.002)  # let the reader run, as real services do

    pause = threading.Event()
    writer = threading.Thread(target=write_lines)
    writer.start()
    is_last_poll = False
    for line in lines:
        if line is not None:
            numbers.append(int(line.text))
        elif is_last_poll:
            break
        else:
            is_last_poll = not writer.is_alive()
    assert numbers == list(range(2_000))
