"""Ask the backend how it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from invoke.context import Context
from invoke.exceptions import Exit

from ops import config
from ops.errors import NotHealthy
from ops.verbs.edge import JSON, RUNTIME, configure, resolve, terminal, verb, watched

if TYPE_CHECKING:
    from rich.console import Console


@verb(
    json=JSON,
    watch="look again every second until Ctrl-C",
    timeout="seconds to wait for an answer",
    url="ask this address instead of looking the backend up",
    runtime=RUNTIME,
)
def health(
    context: Context,
    json: bool = False,
    watch: bool = False,
    timeout: str = "3",
    url: str = "",
    runtime: str = "",
) -> None:
    """Ask the backend how it is.

    One look at /ready: healthy, starting, degraded (it serves, but the schema is
    not current), unhealthy (the database or Redis does not answer), unreachable.
    --watch goes on looking: latency, and the moment of each change; q ends it.

    Examples:
      inv health
      inv health --watch
      inv health --url http://127.0.0.1:8000 --timeout 1
      inv health --json | jq -r .state

    Exit codes: 0 healthy, or q under --watch; 3 starting, degraded or unhealthy;
    4 unreachable; 130 Ctrl-C.
    """
    from urllib.parse import urlsplit

    from ops import health as probe
    from ops.model import State

    limit = config.seconds("--timeout", timeout)
    if url:
        base = config.base_url("--url", url)
        configured = configure(context, runtime)

        def look() -> list[Any]:
            path = urlsplit(configured.health).path or probe.READY
            answer = probe.fetch(base + path, limit)
            return [probe.read(answer, configured.service, configured.service, "", path)]

        runtime_name = configured.runtime
    else:
        configured, where = resolve(context, runtime)
        runtime_name = where.name

        def look() -> list[Any]:
            asked = configured.health
            replicas = where.replicas(configured.service, probe=not asked)
            if not asked:
                return [probe.by_probe(replica) for replica in replicas]
            return [probe.check(where, replica, limit, asked) for replica in replicas]

    if watch:
        watched(lambda console: _show_health(look(), runtime_name, json, console))
    looks = look()
    _show_health(looks, runtime_name, json, None)
    state = probe.worst(looks).state
    if state is State.UNREACHABLE:
        raise Exit(code=4)
    if state is not State.HEALTHY:
        raise Exit(code=NotHealthy.exit_code)


def _show_health(looks: list[Any], runtime: str, json: bool, console: Console | None) -> None:
    from ops import health as probe
    from ops.screen import data

    if json:
        print(data.dumps(data.health_json(looks, probe.worst(looks), runtime)), flush=True)
        return
    from ops.screen import cards

    for look in looks:
        cards.health_text(console or terminal(), look, probe.explain(look), runtime)
