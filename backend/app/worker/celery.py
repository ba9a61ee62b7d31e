"""The Celery application: `celery -A app.worker worker` and `celery -A app.worker beat`."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

from celery import Celery, bootsteps
from celery.exceptions import Reject
from celery.utils.log import get_task_logger

from app import heartbeat
from app.database import DATABASE_UNAVAILABLE, transaction
from app.domain import deals, scouting
from app.settings import BadSetting, load
from app.worker import broker, transport

try:
    settings = load()
except BadSetting as error:
    sys.exit(str(error))
log = get_task_logger(__name__)
logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs URLs, which may contain keys

# Seconds from its start for which a task waits for the database. A feed may take 40; the soft limit
# of 50 must not be reached, since a task that it stops counts as finished.
DATABASE_TIMEOUT = 30.0
RETRY_INTERVAL = 2.0  # seconds

transport.register()
celery = Celery("deal_scout", broker=settings.redis_url)
celery.conf.update(
    # The tasks of a killed worker are delivered again after `visibility_timeout`, which is longer
    # than the time limit; `unacked_restore_interval` is how often workers check for them.
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_soft_time_limit=50,
    task_time_limit=60,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    worker_cancel_long_running_tasks_on_connection_loss=True,
    broker_transport_options={
        "visibility_timeout": 100,
        "unacked_restore_interval": 10,
        "unacked_restore_throttle": 1,
        # A Redis that is down, frozen or unreachable must not block a request, the worker or beat.
        "socket_timeout": 2,
        "socket_connect_timeout": 2,
        "socket_keepalive": True,
        "health_check_interval": 10,
        "max_retries": 0,  # for publishers; the worker's consumer retries for ever
    },
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_pool_limit=40,  # one per thread of the API
    beat_scheduler="app.worker.beat:Scheduler",
    beat_schedule_filename=str(settings.run_dir / "beat-schedule"),
    beat_max_loop_interval=heartbeat.INTERVAL,
    beat_sync_every=1,
    beat_schedule={
        "scout": {
            "task": "app.scout",
            "schedule": settings.scout_interval,
            "args": [settings.scout_feed],
            # The next task replaces one that no worker has received by then.
            "options": {"expires": settings.scout_interval},
        }
    },
)


@celery.task(name="app.scout", throws=(scouting.BadFeed,))
def scout(feed: str) -> None:
    """Read a feed and store its deals. Idempotent."""
    deadline = time.monotonic() + DATABASE_TIMEOUT
    new_deals, rejected = scouting.read(feed)
    new, existing = _store(new_deals, deadline)
    name = scouting.display_name(feed)
    log.info("scouted %s: %d new, %d known, %d rejected", name, new, existing, rejected)


def _store(new_deals: list[deals.NewDeal], deadline: float) -> tuple[int, int]:
    """Store the deals; requeue the task if the database is unavailable until the deadline."""
    while True:
        try:
            with transaction() as session:
                return deals.update_or_add(session, new_deals)
        except DATABASE_UNAVAILABLE as error:
            if time.monotonic() > deadline:
                # Celery's own retry would publish a new task and acknowledge this one, and lose it
                # if Redis fails at that moment. A rejected task stays in Redis throughout.
                log.warning("the database is unavailable: the task is requeued")
                raise Reject(error, requeue=True) from None
            time.sleep(RETRY_INTERVAL)


class Heartbeat(bootsteps.StartStopStep):
    """Records heartbeats of the worker while the consumer is connected and its loop runs."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, consumer: Any) -> None:
        """Start the heartbeat when the consumer has connected."""
        self._redis = broker.client(settings, timeout=1)  # blocks the loop, so keep it short
        self._beat()
        self._timer = consumer.timer.call_repeatedly(heartbeat.INTERVAL, self._beat)

    def _beat(self) -> None:
        heartbeat.touch("worker")
        heartbeat.publish(self._redis, "worker")

    def stop(self, consumer: Any) -> None:
        """Stop the heartbeat when the consumer has lost its connection."""
        self._timer.cancel()
        self._redis.close()


celery.steps["consumer"].add(Heartbeat)
