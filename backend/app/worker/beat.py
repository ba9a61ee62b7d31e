"""Beat's scheduler: several may run, and there is one schedule all the same."""

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

# Take the lock if it is free, hold it longer if it is ours; 1 when we have it.
_TAKE = """
if redis.call('get', KEYS[1]) == ARGV[1] then
  return redis.call('pexpire', KEYS[1], ARGV[2])
end
return redis.call('set', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) and 1 or 0
"""

log = logging.getLogger(__name__)


class Scheduler(PersistentScheduler):
    """Sends tasks while it holds a lock in Redis. The others go through the motions, and wait."""

    def __init__(self, app: Celery, **more: object) -> None:
        self._me = uuid.uuid4().hex
        self._leads: bool | None = None  # None: Redis is away
        self._redis = broker.client(load(), patience=2)
        super().__init__(app=app, **more)

    def tick(self, *arguments: object, **more: object) -> float:
        heartbeat.touch("beat")
        self._try_to_lead()
        if self._leads is None:  # sending would block in Celery's own attempts to connect
            return self.max_interval
        heartbeat.tell(self._redis, "beat")
        return super().tick(*arguments, **more)

    def apply_entry(self, entry: ScheduleEntry, producer: object = None) -> None:
        if self._leads:
            super().apply_entry(entry, producer)

    def _try_to_lead(self) -> None:
        try:
            leads = bool(self._redis.eval(_TAKE, 1, LOCK, self._me, LOCK_SECONDS * 1000))
        except redis.RedisError:
            leads = None
        if leads != self._leads:
            words = {True: "this beat schedules", False: "another beat schedules; standing by"}
            log.info(words.get(leads, "Redis is away; nothing is scheduled"))
            self._leads = leads
