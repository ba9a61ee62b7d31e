"""Ask the backend how it is."""

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
    configure,
    start,
    terminal,
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
    timeout="seconds to wait for an answer",
    url="ask this address instead of looking the backend up",
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
    """Ask the backend how it is.

    One look at /ready, where the backend runs: healthy, starting, degraded (it
    serves, but the schema is not current), unhealthy (the database or Redis does
    not answer), unreachable, or unknown if it cannot be asked there.
    --watch goes on looking: latency, and the moment of each change; q ends it.

    Examples:
      inv health
      inv health --watch
      inv health --url http://127.0.0.1:8000 --timeout 1
      inv health --json | jq -r .state

    Exit codes: 0 healthy, or q under --watch; 3 starting, degraded, unhealthy or
    unknown; 4 unreachable; 130 Ctrl-C.
    """
    from invoke_stack.commands.health import check_address, check_service

    limit = config.seconds("--timeout", timeout)
    if url is not None:
        base = config.base_url("--url", url)
        configured = configure(context, runtime, lambda _: None)  # an address needs no variable
        look = functools.partial(check_address, configured, base, limit)
        # Nobody looks there which runtime it is.
        runtime_name = "" if configured.runtime == "auto" else configured.runtime
    else:
        session = start(context, runtime, needs_variables=False)
        configured, runtime_name = session.config, session.runtime.name
        look = functools.partial(check_service, session, limit)
    if watch:
        _watch(look, configured, runtime_name, json)
        return
    looks = look()
    _show(looks, runtime_name, json)
    state = worst(looks).state
    if state is State.UNREACHABLE:
        raise Exit(code=4)
    if state is not State.HEALTHY:
        raise Exit(code=NotHealthy.exit_code)


def _show(looks: Sequence[Health], runtime: str, json: bool) -> None:

    if json:
        print(documents.dumps(documents.health_json(looks, worst(looks), runtime)))
        return
    from invoke_stack.cli.screen import cards

    console = terminal()
    for look in looks:
        cards.health_text(console, look, runtime)


def _watch(
    look: Callable[[], Sequence[Health]], configured: Config, runtime: str, json: bool
) -> None:
    from invoke_stack.cli import live
    from invoke_stack.commands.health import unreachable_health

    def dumps(found: Sequence[Health] | StackError) -> str:
        if isinstance(found, StackError):
            found = [unreachable_health(configured, found.message)]
        return documents.dumps(documents.health_json(found, worst(found), runtime))

    if json:
        live.watch_json(look, dumps)
    else:
        live.watch(look, " · ".join(filter(None, (configured.service, runtime))), _View())


class _View:
    """The health over time."""

    def __init__(self) -> None:
        from invoke_stack.commands.history import History

        self.history = History()
        self.looks: Sequence[Health] = []

    def take(self, found: Sequence[Health] | StackError, at: datetime) -> None:

        if isinstance(found, StackError):
            self.looks = []
            self.history.add_failure(at, found.message)
        else:
            self.looks = found
            self.history.add(found)

    def lines(self, now: datetime, width: int) -> Sequence[Text]:
        from invoke_stack.cli.screen import pulse

        return pulse.pulse_lines(self.history, self.looks, now, width)

    def news(self, now: datetime, width: int) -> Sequence[Text]:
        from invoke_stack.cli.screen import pulse

        return pulse.news_lines(self.history, self.looks, now)
