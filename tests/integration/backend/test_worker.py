"""Worker and beat as real processes, with their own Valkey."""

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


def check_heartbeat(name: str, env: dict[str, str]) -> tuple[int, str]:
    result = processes.run("python", "-m", "app.heartbeat", name, env=env)
    return result.returncode, result.stdout


def test_scout_stores_each_deal_once(api: Api, worker: Process) -> None:
    for feed in ({}, {"feed": "sample"}):
        response = api.post("/scouts", json=feed)
        assert (response.status_code, response.json()["feed"]) == (202, "sample")
    worker.until("scouted sample: 12 new, 0 known, 0 rejected")
    worker.until("scouted sample: 0 new, 12 known, 0 rejected")
    assert api.get("/deals").json()["total"] == 12
    servers.wait_until("the queue is empty", lambda: api.health()["queue_depth"] == 0)


def test_scout_logs_a_failed_feed_in_one_line(api: Api, worker: Process) -> None:
    assert api.post("/scouts", json={"feed": "http://127.0.0.1:1/x?key=secret"}).status_code == 202
    worker.until("download from 127.0.0.1 failed: ConnectError")
    assert "Traceback" not in worker.log()
    assert "secret" not in worker.log()


def test_worker_reply_to_inspect_is_no_task(
    worker: Process, redis: servers.Redis, module_environment: dict[str, str]
) -> None:
    result = processes.run(
        "celery", "-A", "app.worker", "inspect", "ping", "--timeout", "3", env=module_environment
    )
    assert "pong" in result.stdout
    assert not redis.client().exists("taken", "unacked")


@pytest.mark.parametrize("feed", ["../sample", "file:///etc/passwd", "", None, 1, "a" * 5000])
def test_scout_rejects_an_invalid_feed(api: Api, feed: object) -> None:
    assert api.post("/scouts", json={"feed": feed}).status_code == 422


def test_worker_reconnects_after_a_restart_of_redis(
    api: Api, worker: Process, redis: servers.Redis, module_environment: dict[str, str]
) -> None:
    connections = worker.log().count("Connected to redis")
    redis.stop()
    worker.until("Cannot connect to redis")
    redis.start()
    worker.until("Connected to redis", connections + 1)
    scouts = worker.log().count("scouted sample")
    api.until("/health", 200)
    assert api.post("/scouts").status_code == 202
    worker.until("scouted sample", scouts + 1)
    assert check_heartbeat("worker", module_environment)[0] == 0
    assert servers.PASSWORD not in worker.log()
    assert "p%40ss" not in worker.log()


@pytest.mark.slow
def test_queue_depth_counts_the_task_of_a_killed_worker(
    api: Api,
    worker: Process,
    redis: servers.Redis,
    module_environment: dict[str, str],
    tmp_path: Path,
) -> None:
    """F30: the task was accepted and is unfinished."""
    worker.stop()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert api.post("/scouts", json={"feed": f"http://127.0.0.1:{silent.getsockname()[1]}/"})
        second = Process(*WORKER, env=module_environment, log=tmp_path / "worker.log")
        silent.settimeout(30)
        connection, _ = silent.accept()  # the task is running
        second.kill()
        connection.close()
    assert redis.client().llen("celery") == 0
    servers.wait_until("the task counts", lambda: api.health()["queue_depth"] == 1)


@pytest.mark.slow
def test_task_in_delivery_to_a_killed_worker_is_run_again(
    api: Api,
    worker: Process,
    redis: servers.Redis,
    module_environment: dict[str, str],
    tmp_path: Path,
) -> None:
    """F30: Redis delivered the task, and the worker was killed before it recorded it."""
    worker.stop()
    client = redis.client()
    client.flushall()
    frozen = Process(*WORKER, env=module_environment, log=tmp_path / "first.log")
    try:
        frozen.until("ready.")
        deliver_to_a_frozen_worker(api, client, frozen)
    finally:
        frozen.kill()
    servers.wait_until("the task counts", lambda: api.health()["queue_depth"] == 1)
    restore_unacked_tasks(module_environment)  # as every worker does
    assert client.llen("taken") == 0
    assert client.llen("celery") == 1
    log = tmp_path / "second.log"
    with processes.running(*WORKER, env=module_environment, log=log) as second:
        second.until("scouted sample")
        servers.wait_until("the queue is empty", lambda: api.health()["queue_depth"] == 0)
    assert not client.exists("taken", "unacked", "unacked_index")


def deliver_to_a_frozen_worker(api: Api, client: Redis, worker: Process) -> None:
    """Send a task that Redis delivers to the worker, which is frozen before it can read it."""
    main = psutil.Process(worker.process.pid)
    for _ in range(10):
        scouts = worker.log().count("scouted sample")
        main.suspend()
        try:
            assert api.post("/scouts").status_code == 202
            if client.llen("celery") == 0:
                assert client.hlen("unacked") == 0
                return
        finally:
            if client.llen("celery"):  # the worker was not polling at that moment
                main.resume()
                worker.until("scouted sample", scouts + 1)
    raise AssertionError("no task was delivered")


def restore_unacked_tasks(environment: dict[str, str]) -> None:
    transport.register()
    options = {"visibility_timeout": 0, "unacked_restore_throttle": 1}
    url = settings.load(environment).redis_url
    with kombu.Connection(url, transport_options=options) as connection:
        connection.default_channel.qos.restore_visible()


@pytest.fixture
def quiet_redis(tmp_path: Path) -> Iterator[servers.Redis]:
    """Run a Redis without workers."""
    with servers.running(servers.make_redis(tmp_path / "redis")) as server:
        yield server


@pytest.mark.slow
def test_beat_schedules_once_with_two_instances(
    quiet_redis: servers.Redis, module_environment: dict[str, str], tmp_path: Path
) -> None:
    """F30; and when the leader is killed, the other instance takes over."""
    beats = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        env = module_environment | quiet_redis.environment()
        env |= {"RUN_DIR": str(folder), "SCOUT_INTERVAL": "1"}
        assert check_heartbeat("beat", env) == (1, f"no heartbeat yet: {folder}/beat.heartbeat\n")
        beats.append((Process(*BEAT, env=env, log=folder / "log"), env))
    try:
        for beat, _ in beats:
            servers.wait_until(
                "it ticks", lambda beat=beat: re.search(r"this beat|another", beat.log())
            )
        (leader, _), (follower, _) = sorted(
            beats, key=lambda pair: "this beat" not in pair[0].log()
        )
        leader.until("Sending due task scout", times=3)
        assert "Sending" not in follower.log()
        servers.wait_until("the tasks are queued", lambda: len(senders(quiet_redis)) >= 3)
        tasks = senders(quiet_redis)
        assert set(tasks.values()) == {leader.process.pid}
        assert len(tasks) <= leader.log().count("Sending")  # logged before the task is sent
        for _, env in beats:
            assert check_heartbeat("beat", env)[0] == 0
        leader.kill()
        assert 0 < quiet_redis.client().pttl("deal-scout:beat") <= 15_000
        quiet_redis.client().pexpire("deal-scout:beat", 1)  # do not wait that long
        follower.until("this beat schedules")
        follower.until("Sending due task scout")
        for beat, _ in beats:
            assert servers.PASSWORD not in beat.log()
            assert "p%40ss" not in beat.log()
    finally:
        for beat, _ in beats:
            beat.stop()


def senders(redis: servers.Redis) -> dict[str, int]:
    """Return the process id of the sender for each task id in the queue.

    A task that was sent twice has one id.
    """
    tasks = [json.loads(task)["headers"] for task in redis.client().lrange("celery", 0, -1)]
    return {task["id"]: int(re.match(r"gen(\d+)@", task["origin"]).group(1)) for task in tasks}


def test_overview_has_the_heartbeats_of_worker_and_beat(
    api: Api, redis: servers.Redis, module_environment: dict[str, str], tmp_path: Path
) -> None:
    def ages() -> list[float | None]:
        """Return the ages of both heartbeats; empty if Redis does not answer."""
        return list((api.get("/overview").json()["heartbeats"] or {}).values())

    def have_heartbeats() -> bool:
        return len(ages()) == 2 and None not in ages()

    redis.client().flushall()
    with (
        processes.running(*WORKER, env=module_environment, log=tmp_path / "worker.log"),
        processes.running(*BEAT, env=module_environment, log=tmp_path / "beat.log"),
    ):
        servers.wait_until("both have heartbeats", have_heartbeats)
        assert all(age < 30 for age in ages())
        redis.freeze()  # the probes do not need Redis
        try:
            servers.wait_until("the ages are unknown", lambda: not ages(), 5)
            assert check_heartbeat("worker", module_environment)[0] == 0
        finally:
            redis.thaw()
        servers.wait_until("both have heartbeats again", have_heartbeats)
    ttl = redis.client().pttl("deal-scout:heartbeat:worker")
    assert 0 < ttl <= 86_400_000


def test_heartbeat_check_fails_when_the_file_is_old(tmp_path: Path) -> None:
    env = servers.clean_environment(RUN_DIR=str(tmp_path))
    file = tmp_path / "worker.heartbeat"
    file.touch()
    assert check_heartbeat("worker", env)[0] == 0
    os.utime(file, (time.time() - 40, time.time() - 40))
    assert check_heartbeat("worker", env) == (1, "40 s since the last heartbeat\n")
    assert check_heartbeat("frontend", env)[0] == 2
