"""A Redis transport for Celery that keeps every task in Redis until it is finished.

Kombu pops a task from its queue, and records it as unacknowledged only when the reply has arrived.
If the worker or Redis is killed in between, the task is lost. Here Redis moves the task to the list
`taken` atomically, and recording it as unacknowledged removes it from that list.
"""

from __future__ import annotations

import time
from queue import Empty
from typing import Any

from kombu.message import Message
from kombu.transport import TRANSPORT_ALIASES, redis
from kombu.utils.json import dumps, loads

from app.worker.broker import IN_DELIVERY

# Record all tasks in delivery as unacknowledged. A worker that is running does the same in a
# moment; if it was killed, the task returns to its queue after the visibility timeout.
_RECORD_ALL = """
for _, task in ipairs(redis.call('lrange', KEYS[1], 0, -1)) do
  local properties = cjson.decode(task)['properties']
  local tag, from = properties['delivery_tag'], properties['delivery_info']
  local ends = cjson.encode(from['exchange']) .. ',' .. cjson.encode(from['routing_key'])
  redis.call('hset', KEYS[2], tag, '[' .. task .. ',' .. ends .. ']')
  redis.call('zadd', KEYS[3], 'NX', ARGV[1], tag)
end
redis.call('del', KEYS[1])
"""


class QoS(redis.QoS):
    """The unacknowledged tasks of a channel."""

    def append(self, message: Message, delivery_tag: str) -> None:
        """Record a task as unacknowledged and remove it from `taken`, in one transaction."""
        source = message.delivery_info
        record = dumps([message._raw, source["exchange"], source["routing_key"]])
        with self.pipe_or_acquire() as pipe:
            pipe.zadd(self.unacked_index_key, {delivery_tag: time.time()})
            pipe.hset(self.unacked_key, delivery_tag, record)
            if self.channel.in_delivery is not None:
                pipe.lrem(IN_DELIVERY, 1, self.channel.in_delivery)
            pipe.execute()
        self.channel.in_delivery = None
        # Kombu's method would record it again; the base class keeps it in this process.
        super(redis.QoS, self).append(message, delivery_tag)

    def restore_visible(self, *limits: Any, **options: Any) -> None:
        """Requeue the tasks that exceed the visibility timeout; workers call this repeatedly."""
        keys = (IN_DELIVERY, self.unacked_key, self.unacked_index_key)
        with self.channel.conn_or_acquire() as client:
            client.eval(_RECORD_ALL, len(keys), *keys, time.time())
        super().restore_visible(*limits, **options)


class Channel(redis.Channel):
    """Reads one queue at a time, without priorities, since BLMOVE supports one list only."""

    QoS = QoS
    priority_steps = (0,)
    in_delivery: bytes | None = None  # the task in delivery, exactly as in `taken`

    def _brpop_start(self, timeout: float | None = None) -> None:
        queues = self._queue_cycle.consume(1)
        if not queues:
            return
        [self._polled_queue] = queues
        self._queue_cycle.rotate(self._polled_queue)
        self._in_poll = self.client.connection
        self._brpop_sent_at = time.monotonic()
        self._in_poll.send_command(
            "BLMOVE",
            self._polled_queue,
            IN_DELIVERY,
            "RIGHT",
            "LEFT",
            timeout or self.brpop_timeout,
        )

    def _brpop_read(self, **options: Any) -> bool:
        try:
            try:
                self.in_delivery = self.client.parse_response(
                    self.client.connection, "BLMOVE", **options
                )
            except self.connection_errors:
                self.client.connection.disconnect()  # the next poll reconnects
                raise
            if self.in_delivery is None:
                raise Empty
            self.connection._deliver(loads(self.in_delivery), self._polled_queue)
            if self.in_delivery is not None:  # a reply to `celery inspect` is never acknowledged
                with self.conn_or_acquire() as client:
                    client.lrem(IN_DELIVERY, 1, self.in_delivery)
            return True
        finally:
            self.in_delivery = None
            self._in_poll = None


class Transport(redis.Transport):
    """The transport for Redis URLs."""

    Channel = Channel


def register() -> None:
    """Use this transport for `redis://` and `rediss://`. Call it before the first connection."""
    name = f"{__name__}:Transport"
    TRANSPORT_ALIASES.update(redis=name, rediss=name)
