"""Beat's scheduler: of several running instances, one sends the scheduled tasks."""

from __future__ import annotations

import logging
import uuid

import redis
from celery.app.base import Celery
from celery.beat import PersistentScheduler, ScheduleEntry

from app import heartbeat
from app.settings import load
from app.worker import broker

LOCK = "deal-scout:beat"
LOCK_SECONDS = 15  # three ticks

# Acquire the lock if it is free, or extend it if this instance holds it. Returns 1 on success.
_ACQUIRE = """
if redis.call('get', KEYS[1]) == ARGV[1] then
  return redis.call('pexpire', KEYS[1], ARGV[2])
end
return redis.call('set', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) and 1 or 0
"""

log = logging.getLogger(__name__)


class Scheduler(PersistentScheduler):
    """Sends tasks while it holds a lock in Redis. Other instances run, but send nothing."""

    def __init__(self, app: Celery, **options: object) -> None:
        self._id = uuid.uuid4().hex
        self._is_leader: bool | None = None  # None while Redis is unavailable
        self._redis = broker.client(load(), timeout=2)
        super().__init__(app=app, **options)

    def tick(self, *arguments: object, **options: object) -> float:
        """Send the due tasks. Returns the seconds to the next tick."""
        heartbeat.touch("beat")
        self._update_leader()
        if self._is_leader is None:  # sending would block while Celery retries to connect
            return float(self.max_interval)
        heartbeat.publish(self._redis, "beat")
        return float(super().tick(*arguments, **options))

    def apply_entry(self, entry: ScheduleEntry, producer: object = None) -> None:
        """Send a due task if this instance is the leader."""
        if self._is_leader:
            super().apply_entry(entry, producer)

    def _update_leader(self) -> None:
        is_leader: bool | None
        try:
            is_leader = bool(self._redis.eval(_ACQUIRE, 1, LOCK, self._id, LOCK_SECONDS * 1000))
        except redis.RedisError:
            is_leader = None
        if is_leader != self._is_leader:
            if is_leader is None:
                log.info("Redis is unavailable; nothing is scheduled")
            elif is_leader:
                log.info("this beat schedules")
            else:
                log.info("another beat schedules; standing by")
            self._is_leader = is_leader
