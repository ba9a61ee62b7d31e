"""Engines that are away, and log streams in every shape that the engine sends."""

import itertools
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import dockerized
from harness.servers import wait_until
from invoke_stack.runtimes.docker import engine, engine_logs, engine_stream

ROOT = Path(__file__).parents[3]
STAMP = "2026-01-01T00:00:00.000000001Z"


# Streams


def frame(stream, payload):
    return bytes([stream, 0, 0, 0]) + len(payload).to_bytes(4, "big") + payload


def records(pieces):
    return [record for batch in engine_stream._records(iter(pieces)) for record in batch]


@given(
    st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=50)), max_size=20),
    st.lists(st.integers(1, 200), max_size=30),
)
def test_frames_are_found_however_the_stream_is_cut(lines, cuts):
    lines = [(stream, data.replace(b"\n", b"")) for stream, data in lines]
    data = b"".join(frame(s, f"{STAMP} ".encode() + text + b"\n") for s, text in lines)
    ends = [0, *itertools.accumulate(cuts), len(data)]
    pieces = [data[a:b] for a, b in itertools.pairwise(ends) if data[a:b]]
    if ends[-2] > len(data):
        pieces = [data[i : i + 7] for i in range(0, len(data), 7)]
    expected = [(stream, STAMP, text.decode("utf-8", "replace")) for stream, text in lines]
    assert records(pieces) == expected


def test_a_long_line_in_several_frames_is_one_line():
    parts = [frame(1, f"{STAMP} ".encode() + part) for part in (b"a" * 10, b"b" * 10, b"c\n")]
    between = frame(2, f"{STAMP} other\n".encode())
    found = records([parts[0] + between, parts[1], parts[2]])
    assert found == [(2, STAMP, "other"), (1, STAMP, "a" * 10 + "b" * 10 + "c")]


def test_a_last_line_without_an_end_is_not_lost():
    assert records([frame(1, f"{STAMP} half".encode())]) == [(1, STAMP, "half")]


@given(st.lists(st.binary(max_size=40)))
def test_no_bytes_break_a_reader(pieces):
    whole = b"".join(pieces)
    lines = [record for batch in engine_stream._records_of_tty(iter(pieces)) for record in batch]
    assert len(lines) == whole.count(b"\n") + (not whole.endswith(b"\n") and whole != b"")
    assert all(isinstance(text, str) for _, _, text in [*lines, *records(pieces)])


# Real containers


@pytest.fixture(scope="module")
def client():
    dockerized.require_engine()
    return engine.connect(os.environ)


def source(client, identity, tty=False):
    return engine_stream.Source(identity, "s", "s", "n", tty, True, "")


def run(command, *options):
    return dockerized.docker("run", "-d", *options, "redis:7", "sh", "-c", command).stdout.strip()


def texts(client, identity, *, tty=False, tail=None):
    found = engine_logs.history(client, [source(client, identity, tty)], tail=tail, since=None)
    return [(line.stream, line.text) for line in found]


@pytest.mark.engine
def test_following_shows_every_line_once_across_restarts(client):
    identity = run(
        "i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo $$-$i; sleep 0.01; done; sleep 60"
    )
    seen = []

    def find():
        found = client.inspect_container(identity)
        state = found["State"]
        return [
            engine_stream.Source(
                identity, "s", "s", "n", False, state["Running"], state["StartedAt"]
            )
        ]

    try:
        lines = engine_logs.follow(client, find, tail=None, since=None, say=seen.append)
        shown = []

        def gather(wanted):
            deadline = time.monotonic() + 60
            for line in lines:
                if line is not None:
                    shown.append(line.text)
                if len(shown) >= wanted or time.monotonic() > deadline:
                    break

        for start in range(1, 4):
            gather(60 * start)
            dockerized.docker("restart", "-t", "0", identity)
        gather(240)
        complete = texts(client, identity)
        assert shown == [text for _, text in complete]
        assert len(shown) == 240
        assert seen == []
    finally:
        dockerized.docker("rm", "-f", identity)


@pytest.mark.engine
@pytest.mark.parametrize("options", [(), ("--init",)])
def test_the_command_of_a_main_process_is_that_below_the_init(client, options):
    identity = run("sleep 600 & sleep 600; echo", *options)
    try:
        command = "sh -c sleep 600 & sleep 600; echo"  # for a moment it is still runc's
        wait_until("its command", lambda: engine.main_command(client, identity) == command)
    finally:
        dockerized.docker("rm", "-f", identity)
