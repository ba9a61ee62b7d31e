"""Redis clients, and the keys under which Celery stores its tasks."""

from __future__ import annotations

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.settings import Settings

# An unfinished task is in the queue, in delivery to a worker (see `app.worker.transport`), or
# unacknowledged by the worker that received it.
QUEUE = "celery"
IN_DELIVERY = "taken"
UNACKED = "unacked"


def client(settings: Settings, timeout: float) -> redis.Redis:
    """Return a client that connects on first use, does not retry, and times out after `timeout` s."""
    return redis.Redis.from_url(
        settings.redis_url,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
    )


def depth(connection: redis.Redis) -> int:
    """Return the number of accepted, unfinished tasks. Raises `redis.RedisError`."""
    pipeline = connection.pipeline(transaction=False)
    pipeline.llen(QUEUE)
    pipeline.llen(IN_DELIVERY)
    pipeline.hlen(UNACKED)
    return sum(pipeline.execute())
