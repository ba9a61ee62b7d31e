"""Ask the backend how it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from invoke.context import Context
from invoke.exceptions import Exit

from invoke_stack import config
from invoke_stack.cli.glue import JSON, RUNTIME, WATCH, configure, resolve, terminal, verb
from invoke_stack.errors import NotHealthy

if TYPE_CHECKING:
    from rich.text import Text

    from invoke_stack.errors import OpsError
    from invoke_stack.model import Health


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
    from concurrent.futures import ThreadPoolExecutor
    from urllib.parse import urlsplit

    from invoke_stack import health as probe
    from invoke_stack.model import State

    limit = config.seconds("--timeout", timeout)
    if url is not None:
        base = config.base_url("--url", url)
        configured = configure(context, runtime, lambda _: None)  # an address needs no variable

        def look() -> Sequence[Health]:
            path = urlsplit(configured.health).path or probe.READY
            answer = probe.fetch(base + path, limit)
            return [probe.read(answer, configured.service, configured.service, "", path)]

        # Nobody looks there which runtime it is.
        runtime_name = "" if configured.runtime == "auto" else configured.runtime
    else:
        configured, where = resolve(context, runtime, needs_variables=False)
        runtime_name = where.name

        def look() -> Sequence[Health]:
            asked = configured.health
            replicas = where.replicas(configured.service, probe=not asked)
            if not asked:
                return [probe.by_probe(replica) for replica in replicas]
            # Side by side, because one that hangs takes all of its time.
            with ThreadPoolExecutor(len(replicas)) as pool:
                return list(pool.map(lambda each: probe.check(where, each, limit, asked), replicas))

    if watch:
        _watch(look, configured.service, runtime_name, json)
        return
    looks = look()
    _show(looks, runtime_name, json)
    state = probe.worst(looks).state
    if state is State.UNREACHABLE:
        raise Exit(code=4)
    if state is not State.HEALTHY:
        raise Exit(code=NotHealthy.exit_code)


def _show(looks: Sequence[Health], runtime: str, json: bool) -> None:
    from invoke_stack import health as probe
    from invoke_stack.render import documents

    if json:
        print(documents.dumps(documents.health_json(looks, probe.worst(looks), runtime)))
        return
    from invoke_stack.cli.screen import cards

    console = terminal()
    for look in looks:
        cards.health_text(console, look, probe.explain(look), runtime)


def _watch(look: Callable[[], Sequence[Health]], service: str, runtime: str, json: bool) -> None:
    from invoke_stack import health as probe
    from invoke_stack.cli import live
    from invoke_stack.errors import OpsError
    from invoke_stack.model import Answer
    from invoke_stack.render import documents

    def dumps(found: Sequence[Health] | OpsError) -> str:
        if isinstance(found, OpsError):
            found = [probe.read(Answer("", None, {}, 0.0, found.message), service, service, "")]
        return documents.dumps(documents.health_json(found, probe.worst(found), runtime))

    if json:
        live.watch_json(look, dumps)
    else:
        live.watch(look, " · ".join(filter(None, (service, runtime))), _View())


class _View:
    """The health over time."""

    def __init__(self) -> None:
        from invoke_stack.judge.history import History

        self.history = History()
        self.looks: Sequence[Health] = []

    def take(self, found: Sequence[Health] | OpsError, at: datetime) -> None:
        from invoke_stack import health as probe
        from invoke_stack.errors import OpsError

        if isinstance(found, OpsError):
            self.looks = []
            self.history.lose(at, found.message)
        else:
            self.looks = found
            self.history.add([(look, probe.explain(look)) for look in found])

    def lines(self, now: datetime, width: int) -> Sequence[Text]:
        from invoke_stack.cli.screen import pulse

        return pulse.pulse_lines(self.history, self.looks, now, width)

    def news(self, now: datetime, width: int) -> Sequence[Text]:
        from invoke_stack.cli.screen import pulse

        return pulse.news_lines(self.history, self.looks, now)
