"""Worker and beat as real processes, with a Valkey of their own."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import kombu
import psutil
import pytest
from app import settings
from app.worker import transport
from redis import Redis

from harness import servers
from tests.integration.backend import processes
from tests.integration.backend.processes import Api, Process

WORKER = ("celery", "-A", "app.worker", "worker", "--concurrency", "1", "--loglevel", "INFO")
BEAT = ("celery", "-A", "app.worker", "beat", "--loglevel", "INFO")


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Redis]:
    with servers.running(servers.make_redis(tmp_path_factory.mktemp("redis"))) as server:
        yield server


@pytest.fixture(scope="module")
def module_environment(module_environment: dict[str, str], redis: servers.Redis) -> dict[str, str]:
    return module_environment | redis.environment()


@pytest.fixture(scope="module")
def worker(api: Api, module_environment: dict[str, str]) -> Iterator[Process]:
    log = Path(module_environment["RUN_DIR"]) / "worker.log"
    with processes.running(*WORKER, env=module_environment, log=log) as worker:
        worker.until("ready.")
        yield worker


def alive(name: str, env: dict[str, str]) -> tuple[int, str]:
    result = processes.run("python", "-m", "app.heartbeat", name, env=env)
    return result.returncode, result.stdout


def test_a_scout_brings_its_deals_home_once(api: Api, worker: Process) -> None:
    for feed in ({}, {"feed": "sample"}):
        answer = api.post("/scouts", json=feed)
        assert (answer.status_code, answer.json()["feed"]) == (202, "sample")
    worker.until("scouted sample: 12 new, 0 known, 0 rejected")
    worker.until("scouted sample: 0 new, 12 known, 0 rejected")
    assert api.get("/deals").json()["total"] == 12
    servers.wait_until("all is done", lambda: api.state()["queue_depth"] == 0)


def test_a_feed_that_fails_is_one_line(api: Api, worker: Process) -> None:
    assert api.post("/scouts", json={"feed": "http://127.0.0.1:1/x?key=secret"}).status_code == 202
    worker.until("127.0.0.1 cannot be read: ConnectError")
    assert "Traceback" not in worker.log()
    assert "secret" not in worker.log()


def test_a_worker_answers_and_its_answer_is_no_task(
    worker: Process, redis: servers.Redis, module_environment: dict[str, str]
) -> None:
    answer = processes.run(
        "celery", "-A", "app.worker", "inspect", "ping", "--timeout", "3", env=module_environment
    )
    assert "pong" in answer.stdout
    assert not redis.client().exists("taken", "unacked")


@pytest.mark.parametrize("feed", ["../sample", "file:///etc/passwd", "", None, 1, "a" * 5000])
def test_what_is_no_feed(api: Api, feed: object) -> None:
    assert api.post("/scouts", json={"feed": feed}).status_code == 422


def test_the_worker_survives_a_restart_of_redis(
    api: Api, worker: Process, redis: servers.Redis, module_environment: dict[str, str]
) -> None:
    connected = worker.log().count("Connected to redis")
    redis.stop()
    worker.until("Cannot connect to redis")
    redis.start()
    worker.until("Connected to redis", connected + 1)
    scouted = worker.log().count("scouted sample")
    api.until("/health", 200)
    assert api.post("/scouts").status_code == 202
    worker.until("scouted sample", scouted + 1)
    assert alive("worker", module_environment)[0] == 0
    assert servers.PASSWORD not in worker.log()
    assert "p%40ss" not in worker.log()


@pytest.mark.slow
def test_a_killed_workers_task_still_counts(
    api: Api,
    worker: Process,
    redis: servers.Redis,
    module_environment: dict[str, str],
    tmp_path: Path,
) -> None:
    """F30: it was accepted, and nobody has finished it."""
    worker.stop()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert api.post("/scouts", json={"feed": f"http://127.0.0.1:{silent.getsockname()[1]}/"})
        second = Process(*WORKER, env=module_environment, log=tmp_path / "worker.log")
        silent.settimeout(30)
        connection, _ = silent.accept()  # in the middle of the task
        second.kill()
        connection.close()
    assert redis.client().llen("celery") == 0
    servers.wait_until("the task counts", lambda: api.state()["queue_depth"] == 1)


@pytest.mark.slow
def test_a_task_on_its_way_to_a_worker_that_dies_is_run_again(
    api: Api,
    worker: Process,
    redis: servers.Redis,
    module_environment: dict[str, str],
    tmp_path: Path,
) -> None:
    """F30: Redis handed it over, and the worker did not live to note it."""
    worker.stop()
    client = redis.client()
    client.flushall()
    frozen = Process(*WORKER, env=module_environment, log=tmp_path / "first.log")
    try:
        frozen.until("ready.")
        hand_over_to_a_frozen_worker(api, client, frozen)
    finally:
        frozen.kill()
    servers.wait_until("the task counts", lambda: api.state()["queue_depth"] == 1)
    look_for_abandoned_tasks(module_environment)  # as every worker does
    assert client.llen("taken") == 0
    assert client.llen("celery") == 1
    log = tmp_path / "second.log"
    with processes.running(*WORKER, env=module_environment, log=log) as second:
        second.until("scouted sample")
        servers.wait_until("all is done", lambda: api.state()["queue_depth"] == 0)
    assert not client.exists("taken", "unacked", "unacked_index")


def hand_over_to_a_frozen_worker(api: Api, client: Redis, worker: Process) -> None:
    """Send a task that Redis gives to the worker, which cannot read it any more."""
    main = psutil.Process(worker.process.pid)
    for _ in range(10):
        done = worker.log().count("scouted sample")
        main.suspend()
        try:
            assert api.post("/scouts").status_code == 202
            if client.llen("celery") == 0:
                assert client.hlen("unacked") == 0
                return
        finally:
            if client.llen("celery"):  # it was not waiting in that moment
                main.resume()
                worker.until("scouted sample", done + 1)
    raise AssertionError("no task was handed over")


def look_for_abandoned_tasks(environment: dict[str, str]) -> None:
    transport.register()
    options = {"visibility_timeout": 0, "unacked_restore_throttle": 1}
    url = settings.load(environment).redis_url
    with kombu.Connection(url, transport_options=options) as connection:
        connection.default_channel.qos.restore_visible()


@pytest.fixture
def quiet_redis(tmp_path: Path) -> Iterator[servers.Redis]:
    """One from which no worker takes anything."""
    with servers.running(servers.make_redis(tmp_path / "redis")) as server:
        yield server


@pytest.mark.slow
def test_two_beats_keep_one_schedule(
    quiet_redis: servers.Redis, module_environment: dict[str, str], tmp_path: Path
) -> None:
    """F30; and when the one that schedules is killed, the other takes over."""
    beats = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        env = module_environment | quiet_redis.environment()
        env |= {"RUN_DIR": str(folder), "SCOUT_INTERVAL": "1"}
        assert alive("beat", env) == (1, f"no heartbeat yet: {folder}/beat.heartbeat\n")
        beats.append((Process(*BEAT, env=env, log=folder / "log"), env))
    try:
        for beat, _ in beats:
            servers.wait_until(
                "it ticks", lambda beat=beat: re.search(r"this beat|another", beat.log())
            )
        leads, follows = sorted(beats, key=lambda pair: "this beat" not in pair[0].log())
        leads[0].until("Sending due task scout", times=3)
        assert "Sending" not in follows[0].log()
        servers.wait_until("it sent them", lambda: len(sent(quiet_redis)) >= 3)
        tasks = sent(quiet_redis)
        assert set(tasks.values()) == {leads[0].process.pid}
        assert len(tasks) <= leads[0].log().count("Sending")  # it is told before it is sent
        for _, env in beats:
            assert alive("beat", env)[0] == 0
        leads[0].kill()
        assert 0 < quiet_redis.client().pttl("deal-scout:beat") <= 15_000
        quiet_redis.client().pexpire("deal-scout:beat", 1)  # do not wait that long
        follows[0].until("this beat schedules")
        follows[0].until("Sending due task scout")
        for beat, _ in beats:
            assert servers.PASSWORD not in beat.log()
            assert "p%40ss" not in beat.log()
    finally:
        for beat, _ in beats:
            beat.stop()


def sent(redis: servers.Redis) -> dict[str, int]:
    """The tasks in the queue, and the process that sent each; one sent anew is the same task."""
    messages = [json.loads(task)["headers"] for task in redis.client().lrange("celery", 0, -1)]
    return {told["id"]: int(re.match(r"gen(\d+)@", told["origin"]).group(1)) for told in messages}


def test_signs_of_life_are_seen_in_the_overview(
    api: Api, redis: servers.Redis, module_environment: dict[str, str], tmp_path: Path
) -> None:
    def ages() -> list[float | None]:
        """Of both; empty when nobody knows."""
        return list((api.get("/overview").json()["heartbeats"] or {}).values())

    def both_live() -> bool:
        return len(ages()) == 2 and None not in ages()

    redis.client().flushall()
    with (
        processes.running(*WORKER, env=module_environment, log=tmp_path / "worker.log"),
        processes.running(*BEAT, env=module_environment, log=tmp_path / "beat.log"),
    ):
        servers.wait_until("both live", both_live)
        assert all(age < 30 for age in ages())
        redis.freeze()  # nobody can tell now, and the probes do not need Redis
        try:
            servers.wait_until("Redis is missed", lambda: not ages(), 5)
            assert alive("worker", module_environment)[0] == 0
        finally:
            redis.thaw()
        servers.wait_until("both live again", both_live)
    left = redis.client().pttl("deal-scout:heartbeat:worker")
    assert 0 < left <= 86_400_000


def test_an_old_heartbeat_is_none(tmp_path: Path) -> None:
    env = servers.clean_environment(RUN_DIR=str(tmp_path))
    file = tmp_path / "worker.heartbeat"
    file.touch()
    assert alive("worker", env)[0] == 0
    os.utime(file, (time.time() - 40, time.time() - 40))
    assert alive("worker", env) == (1, "40 s since the last heartbeat\n")
    assert alive("frontend", env)[0] == 2
