"""Check the health of the backend."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from invoke_stack import config
from invoke_stack.cli.glue import (
    JSON,
    RUNTIME,
    WATCH,
    Context,
    Exit,
    load_config,
    make_console,
    open_session,
    verb,
)
from invoke_stack.errors import NotHealthy, StackError
from invoke_stack.model import Health, State, worst
from invoke_stack.render import documents

if TYPE_CHECKING:
    from rich.text import Text

    from invoke_stack.config import Config


@verb(
    json=JSON,
    watch=WATCH,
    timeout="how long to wait for an answer: 3 or 10s",
    url="check this address instead of the backend's own",
    runtime=RUNTIME,
)
def health(
    context: Context,
    json: bool = False,
    watch: bool = False,
    timeout: str = "3",
    url: str | None = None,
    runtime: str = "",
) -> None:
    """Check the health of the backend.

    Queries /ready once, where the backend runs. The state is healthy, starting,
    degraded (it serves, but the schema is not current), unhealthy (the database
    or Redis does not answer), unreachable (no answer), or unknown (no way to
    send the request). --watch polls every second and shows latency and state
    changes; q quits.

    Examples:
      inv health
      inv health --watch
      inv health --url http://127.0.0.1:8000 --timeout 1
      inv health --json | jq -r .state

    Exit codes: 0 healthy, or q with --watch; 3 starting, degraded, unhealthy or
    unknown; 4 unreachable; 130 Ctrl-C.
    """
    from invoke_stack.commands.health import check_address, check_service

    limit = config.seconds("--timeout", timeout)
    if url is not None:
        base = config.base_url("--url", url)
        # An address needs none of the stack's variables, so errors in them are ignored.
        configured = load_config(context, runtime, lambda _: None)
        poll = functools.partial(check_address, configured, base, limit)
        # With --url the runtime is not detected.
        runtime_name = "" if configured.runtime == "auto" else configured.runtime
    else:
        session = open_session(context, runtime, needs_variables=False)
        configured, runtime_name = session.config, session.runtime.name
        poll = functools.partial(check_service, session, limit)
    if watch:
        _watch(poll, configured, runtime_name, json)
        return
    healths = poll()
    _show(healths, runtime_name, json)
    state = worst(healths).state
    if state is State.UNREACHABLE:
        raise Exit(code=4)
    if state is not State.HEALTHY:
        raise Exit(code=NotHealthy.exit_code)


def _show(healths: Sequence[Health], runtime: str, json: bool) -> None:
    if json:
        print(documents.dumps(documents.health_json(healths, worst(healths), runtime)))
        return
    from invoke_stack.cli.screen import summary

    console = make_console()
    for health in healths:
        summary.print_health(console, health, runtime)


def _watch(
    poll: Callable[[], Sequence[Health]], configured: Config, runtime: str, json: bool
) -> None:
    from invoke_stack.cli import live
    from invoke_stack.commands.health import unreachable_health

    def dumps(healths: Sequence[Health] | StackError) -> str:
        if isinstance(healths, StackError):
            healths = [unreachable_health(configured, healths.message)]
        return documents.dumps(documents.health_json(healths, worst(healths), runtime))

    if json:
        live.watch_json(poll, dumps)
    else:
        live.watch(poll, " · ".join(filter(None, (configured.service, runtime))), _View())


class _View:
    """The health over time."""

    def __init__(self) -> None:
        from invoke_stack.commands.history import History

        self.history = History()
        self.healths: Sequence[Health] = []

    def add(self, value: Sequence[Health] | StackError, at: datetime) -> None:
        if isinstance(value, StackError):
            self.healths = []
            self.history.add_failure(at, value.message)
        else:
            self.healths = value
            self.history.add(value)

    def lines(self, now: datetime, width: int) -> Sequence[Text]:
        from invoke_stack.cli.screen import timeline

        return timeline.timeline_lines(self.history, self.healths, now, width)

    def latest_lines(self, now: datetime, width: int) -> Sequence[Text]:
        from invoke_stack.cli.screen import timeline

        return timeline.latest_lines(self.history, self.healths, now)
