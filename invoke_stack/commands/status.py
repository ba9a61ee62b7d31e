"""The stack at a glance: what runs, where the schema stands, and how the last boot went."""

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
LINES = 2000  # of the log, in which the last boot is looked for: the last ones, or from its start


class StatusPoller:
    """Looks at a stack, once or again and again. A boot that is over is read only once."""

    def __init__(self, session: Session) -> None:
        self.runtime, self.config = session.runtime, session.config
        self.known: dict[tuple[str, datetime | None], Boot] = {}

    def look(self) -> Snapshot:
        """The stack as it is now. Raises `OutOfReach`."""
        replicas = self.runtime.replicas()
        main = [each for each in replicas if each.service == self.config.service]
        running = [each for each in main if each.running]
        schema = None
        if known := self.config.profile.schema:
            schema = Schema()
            if running:
                answer = self.runtime.get(running[0], known.path, SCHEMA_TIMEOUT)
                schema = schema_of(answer.body)
        return Snapshot(
            runtime=self.runtime.name,
            services=self.runtime.services(),
            replicas=tuple(replicas),
            schema=schema,
            boots=self._boots(main),
        )

    def _boots(self, replicas: Sequence[Replica]) -> dict[str, Boot]:
        unread = [each for each in replicas if (each.replica, each.started_at) not in self.known]
        found = self._read(unread) if unread else {}
        boots = {}
        for each in replicas:
            told = self.known.get((each.replica, each.started_at)) or found[each.replica]
            if told.phases:
                boots[each.replica] = told
        return boots

    def _read(self, replicas: Sequence[Replica]) -> dict[str, Boot]:
        lines = self._lines(tail=LINES, since=None)
        starts = [each.started_at for each in replicas if each.started_at]
        if len(lines) == LINES and starts and timestamps.parse(lines[0].time) > min(starts):
            # So much was said since: from the start on, it costs a little more.
            lines = self._lines(tail=None, since=timestamps.log_time(min(starts)))
        now = timestamps.log_time(datetime.now(UTC))
        found = {}
        for each in replicas:
            parser = boot.BootParser(self.config.phases)
            for line in lines:
                if line.replica == each.replica and _is_since(line, each.started_at):
                    parser.add(line)
            told = parser.boot(until=now if each.running else "")
            found[each.replica] = told
            rotated_away = not told.phases and len(lines) == LINES
            if rotated_away or (told.serving_since and not told.current):
                self.known[each.replica, each.started_at] = told
        return found

    def _lines(self, *, tail: int | None, since: str | None) -> list[LogLine]:
        service = self.config.service
        lines = self.runtime.history([service], tail=tail, since=since, say=lambda _: None)
        return list(islice(lines, LINES))


def _is_since(line: LogLine, start: datetime | None) -> bool:
    return start is None or timestamps.parse(line.time) >= start
