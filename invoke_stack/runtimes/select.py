"""Picks the runtime. Each is imported only when it is needed: some are slow to import."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from invoke_stack.config import Config
from invoke_stack.errors import StackError, Unavailable
from invoke_stack.model import Presence
from invoke_stack.runtimes import choice, record
from invoke_stack.runtimes.base import Runtime, Say
from invoke_stack.runtimes.docker import engine


def select_runtime(config: Config, say: Say) -> Runtime:
    """Return the runtime that the flag or the configuration names, else the one that `auto` means.

    `say` gets which one that is, and why.
    """
    if config.runtime != "auto":
        return _make(config.runtime, config)
    runtimes, facts = _examine(config)
    chosen = choice.choose(facts)
    say(f"runtime: {chosen.runtime} ({chosen.reason})")
    return runtimes[chosen.runtime]


def select_for_doctor(config: Config) -> Runtime:
    """Return the runtime to examine when something may be wrong, for whatever `up` would need.

    As `pick`, but one that does not answer is returned as well, and no registry is asked. Raises
    `StackError` when even that is not clear.
    """
    if config.runtime != "auto":
        return _make(config.runtime, config)
    runtimes, facts = _examine(config)
    try:
        chosen = choice.choose(replace(facts, compose_obstacle=lambda: "")).runtime
    except Unavailable:
        chosen = facts.last_used or "compose"
    return runtimes.get(chosen) or _make(chosen, config)


def _examine(config: Config) -> tuple[dict[str, Runtime], choice.Facts]:
    """Ask every runtime for this project's stack; returns those that could be asked, too."""
    from invoke_stack.runtimes.local.runtime import LocalRuntime

    local = LocalRuntime(config)
    runtimes: dict[str, Runtime] = {"local": local}

    def presence(name: str) -> Presence | StackError:
        try:
            runtimes[name] = _make(name, config)
            return runtimes[name].presence()
        except StackError as error:
            return error

    def compose_obstacle() -> str:
        from invoke_stack.runtimes.compose.runtime import ComposeRuntime

        runtime = runtimes["compose"]
        assert isinstance(runtime, ComposeRuntime)
        return runtime.obstacle()

    can_have_engine = engine.can_exist()
    if can_have_engine:
        engine.load()
        # Side by side, because an engine that hangs takes all of its time.
        with ThreadPoolExecutor(2) as pool:
            compose, swarm = pool.map(presence, ("compose", "swarm"))
    else:
        compose = swarm = engine.no_engine_error()
    return runtimes, choice.Facts(
        {"compose": compose, "local": local.presence(), "swarm": swarm},
        compose_obstacle=compose_obstacle,
        local_obstacle=local.lacks(),
        last_used=record.read(config.state),
        can_have_engine=can_have_engine,
        is_engine_named=engine.is_named(),
    )


def _make(name: str, config: Config) -> Runtime:
    if name == "local":
        from invoke_stack.runtimes.local.runtime import LocalRuntime

        return LocalRuntime(config)
    if name == "compose":
        from invoke_stack.runtimes.compose.runtime import ComposeRuntime

        return ComposeRuntime(config)
    from invoke_stack.runtimes.swarm.runtime import SwarmRuntime

    return SwarmRuntime(config)
