"""Log streams as the engine sends them, and logs and processes of real containers."""

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


def records(chunks):
    return [record for batch in engine_stream._records(iter(chunks)) for record in batch]


@given(
    st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=50)), max_size=20),
    st.lists(st.integers(1, 200), max_size=30),
)
def test_frames_are_parsed_however_the_stream_is_split(lines, cuts):
    lines = [(stream, data.replace(b"\n", b"")) for stream, data in lines]
    data = b"".join(frame(s, f"{STAMP} ".encode() + text + b"\n") for s, text in lines)
    ends = [0, *itertools.accumulate(cuts), len(data)]
    chunks = [data[a:b] for a, b in itertools.pairwise(ends) if data[a:b]]
    if ends[-2] > len(data):
        chunks = [data[i : i + 7] for i in range(0, len(data), 7)]
    expected = [(stream, STAMP, text.decode("utf-8", "replace")) for stream, text in lines]
    assert records(chunks) == expected


def test_frames_of_a_long_line_are_joined():
    parts = [frame(1, f"{STAMP} ".encode() + part) for part in (b"a" * 10, b"b" * 10, b"c\n")]
    between = frame(2, f"{STAMP} other\n".encode())
    lines = records([parts[0] + between, parts[1], parts[2]])
    assert lines == [(2, STAMP, "other"), (1, STAMP, "a" * 10 + "b" * 10 + "c")]


def test_last_line_without_newline_is_kept():
    assert records([frame(1, f"{STAMP} half".encode())]) == [(1, STAMP, "half")]


@given(st.lists(st.binary(max_size=40)))
def test_stream_parsers_accept_any_bytes(chunks):
    data = b"".join(chunks)
    lines = [record for batch in engine_stream._tty_records(iter(chunks)) for record in batch]
    assert len(lines) == data.count(b"\n") + (not data.endswith(b"\n") and data != b"")
    assert all(isinstance(text, str) for _, _, text in [*lines, *records(chunks)])


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
    lines = engine_logs.history(client, [source(client, identity, tty)], tail=tail, since=None)
    return [(line.stream, line.text) for line in lines]


@pytest.mark.engine
def test_follow_yields_every_line_once_across_restarts(client):
    identity = run(
        "i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo $$-$i; sleep 0.01; done; sleep 60"
    )
    notices = []

    def find_sources():
        state = client.inspect_container(identity)["State"]
        return [
            engine_stream.Source(
                identity, "s", "s", "n", False, state["Running"], state["StartedAt"]
            )
        ]

    try:
        lines = engine_logs.follow(client, find_sources, tail=None, since=None, say=notices.append)
        followed = []

        def read_until(count):
            deadline = time.monotonic() + 60
            for line in lines:
                if line is not None:
                    followed.append(line.text)
                if len(followed) >= count or time.monotonic() > deadline:
                    break

        for start in range(1, 4):
            read_until(60 * start)
            dockerized.docker("restart", "-t", "0", identity)
        read_until(240)
        history = texts(client, identity)
        assert followed == [text for _, text in history]
        assert len(followed) == 240
        assert notices == []
    finally:
        dockerized.docker("rm", "-f", identity)


@pytest.mark.engine
@pytest.mark.parametrize("options", [(), ("--init",)])
def test_main_command_skips_the_init_process(client, options):
    identity = run("sleep 600 & sleep 600; echo", *options)
    try:
        command = "sh -c sleep 600 & sleep 600; echo"  # at first it is still that of runc
        wait_until("its command", lambda: engine.main_command(client, identity) == command)
    finally:
        dockerized.docker("rm", "-f", identity)
