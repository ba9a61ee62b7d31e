"""The stack at a glance: its replicas, the schema, and the last boot of the main service."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import islice

from invoke_stack import timestamps
from invoke_stack.commands.health import schema_of
from invoke_stack.commands.session import Session
from invoke_stack.judge import boot
from invoke_stack.model import Boot, LogLine, Replica, Schema, Snapshot

SCHEMA_TIMEOUT = 2.0  # seconds
LINES = 2000  # most log lines that are searched for a boot


class StatusPoller:
    """Takes snapshots of a stack. The log of a finished boot is read only once."""

    def __init__(self, session: Session) -> None:
        self.runtime, self.config = session.runtime, session.config
        # Boots that will not change, by replica and its start.
        self.finished: dict[tuple[str, datetime | None], Boot] = {}

    def poll(self) -> Snapshot:
        """Return the stack as it is now. Raises `OutOfReach`."""
        replicas = self.runtime.replicas()
        main = [replica for replica in replicas if replica.service == self.config.service]
        running = [replica for replica in main if replica.running]
        schema = None
        if access := self.config.profile.schema:
            schema = Schema()
            if running:
                answer = self.runtime.get(running[0], access.path, SCHEMA_TIMEOUT)
                schema = schema_of(answer.body)
        return Snapshot(
            runtime=self.runtime.name,
            services=self.runtime.services(),
            replicas=tuple(replicas),
            schema=schema,
            boots=self._boots(main),
        )

    def _boots(self, replicas: Sequence[Replica]) -> dict[str, Boot]:
        unread = [
            replica
            for replica in replicas
            if (replica.replica, replica.started_at) not in self.finished
        ]
        latest = self._read(unread) if unread else {}
        boots = {}
        for replica in replicas:
            finished = self.finished.get((replica.replica, replica.started_at))
            last_boot = finished or latest[replica.replica]
            if last_boot.phases:
                boots[replica.replica] = last_boot
        return boots

    def _read(self, replicas: Sequence[Replica]) -> dict[str, Boot]:
        lines = self._lines(tail=LINES, since=None)
        starts = [replica.started_at for replica in replicas if replica.started_at]
        if len(lines) == LINES and starts and timestamps.parse(lines[0].time) > min(starts):
            # The last lines do not reach back to the start. Reading from there costs a little more.
            lines = self._lines(tail=None, since=timestamps.log_time(min(starts)))
        now = timestamps.log_time(datetime.now(UTC))
        boots = {}
        for replica in replicas:
            story = boot.BootParser(self.config.phases)
            for line in lines:
                if line.replica == replica.replica and _is_since(line, replica.started_at):
                    story.add(line)
            last_boot = story.boot(until=now if replica.running else "")
            boots[replica.replica] = last_boot
            rotated_away = not last_boot.phases and len(lines) == LINES
            if rotated_away or (last_boot.serving_since and not last_boot.current):
                self.finished[replica.replica, replica.started_at] = last_boot
        return boots

    def _lines(self, *, tail: int | None, since: str | None) -> list[LogLine]:
        service = self.config.service
        lines = self.runtime.history([service], tail=tail, since=since, say=lambda _: None)
        return list(islice(lines, LINES))


def _is_since(line: LogLine, start: datetime | None) -> bool:
    return start is None or timestamps.parse(line.time) >= start
