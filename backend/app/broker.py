"""Redis, and where Celery keeps its tasks there."""

from __future__ import annotations

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.settings import Settings

# Tasks that nobody has finished wait in the queue and its priority sublists, or were handed to a
# worker that has not acknowledged them yet.
QUEUES = ("celery", "celery\x06\x163", "celery\x06\x166", "celery\x06\x169")
UNACKED = "unacked"


def client(settings: Settings, patience: float) -> redis.Redis:
    """A client that connects at its first use, never retries, and waits `patience` s for a reply."""
    return redis.Redis.from_url(
        settings.redis_url,
        socket_timeout=patience,
        socket_connect_timeout=patience,
        retry=Retry(NoBackoff(), 0),
    )


def depth(connection: redis.Redis) -> int:
    """How many tasks were accepted and not finished. Raises `redis.RedisError`."""
    pipeline = connection.pipeline(transaction=False).ping()
    for queue in QUEUES:
        pipeline = pipeline.llen(queue)
    _, *lengths = pipeline.hlen(UNACKED).execute()
    return sum(lengths)
