"""Redis, and where Celery keeps its tasks there."""

from __future__ import annotations

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.settings import Settings

# An unfinished task waits in the queue, is on its way to a worker (see `app.worker.transport`), or
# was noted by the worker that has it.
QUEUE = "celery"
TAKEN = "taken"
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
    pipeline = connection.pipeline(transaction=False)
    return sum(pipeline.llen(QUEUE).llen(TAKEN).hlen(UNACKED).execute())
