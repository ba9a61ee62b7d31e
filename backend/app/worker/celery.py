"""The Celery application: `celery -A app.worker worker` and `celery -A app.worker beat`."""

from __future__ import annotations

import logging
import sys
import time

from celery import Celery, bootsteps
from celery.exceptions import Reject
from celery.utils.log import get_task_logger

from app import heartbeat
from app.database import DATABASE_AWAY, transaction
from app.domain import deals, scouting
from app.settings import BadSetting, load
from app.worker import broker, transport

try:
    settings = load()
except BadSetting as error:
    sys.exit(str(error))
log = get_task_logger(__name__)
logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs URLs, which may hold keys

# Seconds after its start until which a task waits for the database. A feed may take 40; the
# soft limit of 50 must not be reached, since a task that it ends counts as done.
PATIENCE = 30.0
AGAIN = 2.0  # seconds between two tries

transport.register()
celery = Celery("deal_scout", broker=settings.redis_url)
celery.conf.update(
    # A task ends in time, or it is somebody else's: what a killed worker had is delivered again
    # after `visibility_timeout`, found by a look every `unacked_restore_interval`.
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
        # No Redis that is away, frozen or cut off may hang a request, the worker or beat.
        "socket_timeout": 2,
        "socket_connect_timeout": 2,
        "socket_keepalive": True,
        "health_check_interval": 10,
        "max_retries": 0,  # of a publisher; the worker's consumer goes on for ever
    },
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_pool_limit=40,  # as many as the API has threads, so that none waits for another
    beat_scheduler="app.worker.beat:Scheduler",
    beat_schedule_filename=str(settings.run_dir / "beat-schedule"),
    beat_max_loop_interval=heartbeat.INTERVAL,
    beat_sync_every=1,
    beat_schedule={
        "scout": {
            "task": "app.scout",
            "schedule": settings.scout_interval,
            "args": [settings.scout_feed],
            # What no worker took in time is superseded by the next one.
            "options": {"expires": settings.scout_interval},
        }
    },
)


@celery.task(name="app.scout", throws=(scouting.BadFeed,))
def scout(feed: str) -> None:
    """Read a feed and bring the deals up to date. May run any number of times."""
    deadline = time.monotonic() + PATIENCE
    found, rejected = scouting.read(feed)
    new, known = _file(found, deadline)
    log.info(
        "scouted %s: %d new, %d known, %d rejected", scouting.shown(feed), new, known, rejected
    )


def _file(found: list[deals.NewDeal], deadline: float) -> tuple[int, int]:
    """Write the deals down, however long the database is away: the task was accepted."""
    while True:
        try:
            with transaction() as session:
                return deals.update_or_add(session, found)
        except DATABASE_AWAY as error:
            if time.monotonic() > deadline:
                # Celery's own retry would write a new task and acknowledge this one, and lose it
                # when Redis is away in that moment. Rejected, it stays in Redis throughout.
                log.warning("the database is away: the task waits in the queue")
                raise Reject(error, requeue=True) from None
            time.sleep(AGAIN)


class Heartbeat(bootsteps.StartStopStep):
    """Gives the worker's signs of life while the consumer is connected and its loop turns."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, consumer: object) -> None:
        self._redis = broker.client(settings, patience=1)  # the loop stands still meanwhile
        self._beat()
        self._timer = consumer.timer.call_repeatedly(heartbeat.INTERVAL, self._beat)

    def _beat(self) -> None:
        heartbeat.touch("worker")
        heartbeat.tell(self._redis, "worker")

    def stop(self, consumer: object) -> None:
        self._timer.cancel()
        self._redis.close()


celery.steps["consumer"].add(Heartbeat)
