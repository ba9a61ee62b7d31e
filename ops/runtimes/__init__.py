"""Picks the runtime. Each is imported only when it is needed: some are slow to import."""

from __future__ import annotations

from contextlib import suppress

from ops.config import Config
from ops.errors import OpsError, OutOfReach
from ops.runtime import Runtime, Say


def pick(config: Config, say: Say) -> Runtime:
    """The runtime that the flag or the configuration names, or the one that fits best.

    `auto` takes the runtime that has this project's stack up, else `compose` when an engine answers
    and the images are there or can be had, else `local`; `say` is told which, and why.
    """
    if config.runtime != "auto":
        return _make(config.runtime, config)
    found, why = _find(config)
    say(f"runtime: {found.name} ({why})")
    return found


def _find(config: Config) -> tuple[Runtime, str]:
    from ops.runtimes.local import LocalRuntime

    local = LocalRuntime(config)
    if local.is_up():  # first, because it takes a millisecond
        return local, "its stack is up"
    from ops.runtimes.compose import ComposeRuntime
    from ops.runtimes.swarm import SwarmRuntime

    compose = ComposeRuntime(config)
    try:
        if compose.is_up():
            return compose, "its stack is up"
        swarm = SwarmRuntime(config)
        if swarm.is_up():
            return swarm, "its stack is up"
        lacking = compose.lacks()
    except OpsError as error:
        if local.lacks():
            raise
        return local, error.message
    if lacking and local.lacks():
        raise OutOfReach(lacking, "see that the engine can pull or build it")
    return (local, lacking) if lacking else (compose, "an engine answers and the images can be had")


def _make(name: str, config: Config) -> Runtime:
    if name == "local":
        from ops.runtimes.local import LocalRuntime

        return LocalRuntime(config)
    if name == "compose":
        from ops.runtimes.compose import ComposeRuntime

        return ComposeRuntime(config)
    from ops.runtimes.swarm import SwarmRuntime

    return SwarmRuntime(config)


def to_examine(config: Config) -> Runtime:
    """The runtime to look at when something may be wrong, for whatever `up` would need.

    The one that has this project's stack up, else the one that has something left of it, else the
    one that `pick` would rather take. Raises `BadInput` when even that is not clear.
    """
    if config.runtime != "auto":
        return _make(config.runtime, config)
    from ops.runtimes.compose import ComposeRuntime
    from ops.runtimes.local import LocalRuntime

    for name in ("local", "compose", "swarm"):
        with suppress(OpsError):
            there = _make(name, config)
            if there.is_up():
                return there
    local, compose = LocalRuntime(config), ComposeRuntime(config)
    with suppress(OpsError):
        if compose.services():
            return compose
    if local.has_been_up():
        return local
    with suppress(OpsError):
        compose.client.ping()
        return compose
    return compose if local.lacks() else local
