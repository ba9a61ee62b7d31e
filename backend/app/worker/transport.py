"""Celery's Redis transport, changed so that a task is on Redis at every moment until it is done.

Kombu pops a task from its queue, and only when the answer has come notes it as unacknowledged. What
was popped for a worker that died, or by a Redis that was killed, before that was nowhere. Here Redis
moves it to the list `taken` instead, in one step, and noting it removes it from there.
"""

from __future__ import annotations

import time
from queue import Empty
from typing import Any

from kombu.message import Message
from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as kombu_redis
from kombu.utils.json import dumps, loads

from app.worker.broker import TAKEN

# Note what still is in the list as taken now. Whoever took it lives, and does the same in a moment;
# or is dead, and after the visibility time-out the task goes back to its queue.
_NOTE_ALL = """
for _, task in ipairs(redis.call('lrange', KEYS[1], 0, -1)) do
  local properties = cjson.decode(task)['properties']
  local tag, from = properties['delivery_tag'], properties['delivery_info']
  local ends = cjson.encode(from['exchange']) .. ',' .. cjson.encode(from['routing_key'])
  redis.call('hset', KEYS[2], tag, '[' .. task .. ',' .. ends .. ']')
  redis.call('zadd', KEYS[3], 'NX', ARGV[1], tag)
end
redis.call('del', KEYS[1])
"""


class QoS(kombu_redis.QoS):
    """What this channel has taken and not acknowledged."""

    def append(self, message: Message, delivery_tag: str) -> None:
        """Note a task as taken, and remove it from the list, in one transaction."""
        source = message.delivery_info
        noted = dumps([message._raw, source["exchange"], source["routing_key"]])
        with self.pipe_or_acquire() as pipe:
            pipe.zadd(self.unacked_index_key, {delivery_tag: time.time()})
            pipe.hset(self.unacked_key, delivery_tag, noted)
            if self.channel.taken is not None:
                pipe.lrem(TAKEN, 1, self.channel.taken)
            pipe.execute()
        self.channel.taken = None
        # Kombu's own would note it again; its parent keeps it for this process.
        super(kombu_redis.QoS, self).append(message, delivery_tag)

    def restore_visible(self, *limits: Any, **more: Any) -> None:
        """Put back what was taken too long ago; a worker calls this again and again."""
        keys = (TAKEN, self.unacked_key, self.unacked_index_key)
        with self.channel.conn_or_acquire() as client:
            client.eval(_NOTE_ALL, len(keys), *keys, time.time())
        super().restore_visible(*limits, **more)


class Channel(kombu_redis.Channel):
    """Takes tasks of one queue at a time, without priorities: Redis waits for one list only."""

    QoS = QoS
    priority_steps = (0,)
    taken: bytes | None = None  # the task that is being delivered, as it stands in the list

    def _brpop_start(self, timeout: float | None = None) -> None:
        queues = self._queue_cycle.consume(1)
        if not queues:
            return
        [self._awaited] = queues
        self._queue_cycle.rotate(self._awaited)
        self._in_poll = self.client.connection
        self._brpop_sent_at = time.monotonic()
        self._in_poll.send_command(
            "BLMOVE", self._awaited, TAKEN, "RIGHT", "LEFT", timeout or self.brpop_timeout
        )

    def _brpop_read(self, **options: Any) -> bool:
        try:
            try:
                self.taken = self.client.parse_response(self.client.connection, "BLMOVE", **options)
            except self.connection_errors:
                self.client.connection.disconnect()  # the next round connects again
                raise
            if self.taken is None:
                raise Empty
            self.connection._deliver(loads(self.taken), self._awaited)
            if self.taken is not None:  # an answer to `celery inspect`: nobody acknowledges it
                with self.conn_or_acquire() as client:
                    client.lrem(TAKEN, 1, self.taken)
            return True
        finally:
            self.taken = None
            self._in_poll = None


class Transport(kombu_redis.Transport):
    """Registered for the URLs of Redis."""

    Channel = Channel


def register() -> None:
    """Use this transport for `redis://` and `rediss://`, before the first connection."""
    name = f"{__name__}:Transport"
    TRANSPORT_ALIASES.update(redis=name, rediss=name)
