"""Selects the runtime. Each is imported only when it is needed: some are slow to import."""

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
    """Return the runtime that the flag or the configuration names, else what `auto` chooses.

    `say` receives the choice of `auto` and its reason.
    """
    if config.runtime != "auto":
        return _create(config.runtime, config)
    runtimes, facts = _collect_facts(config)
    chosen = choice.choose(facts)
    say(f"runtime: {chosen.runtime} ({chosen.reason})")
    return runtimes[chosen.runtime]


def select_for_doctor(config: Config) -> Runtime:
    """Return the runtime to examine: the one that `up` would use, working or not.

    As `select_runtime`, but a runtime that does not answer is returned too, and no registry is
    queried. Raises `StackError` if even that is ambiguous.
    """
    if config.runtime != "auto":
        return _create(config.runtime, config)
    runtimes, facts = _collect_facts(config)
    try:
        name = choice.choose(replace(facts, compose_obstacle=lambda: "")).runtime
    except Unavailable:
        name = facts.last_used or "compose"
    return runtimes.get(name) or _create(name, config)


def _collect_facts(config: Config) -> tuple[dict[str, Runtime], choice.ChoiceFacts]:
    """Query every runtime for this project's stack; also return the runtimes that could be."""
    from invoke_stack.runtimes.local.runtime import LocalRuntime

    local = LocalRuntime(config)
    runtimes: dict[str, Runtime] = {"local": local}

    def presence(name: str) -> Presence | StackError:
        try:
            runtimes[name] = _create(name, config)
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
        # In parallel: each takes its full timeout if the engine hangs.
        with ThreadPoolExecutor(2) as pool:
            compose, swarm = pool.map(presence, ("compose", "swarm"))
    else:
        compose = swarm = engine.no_engine_error()
    return runtimes, choice.ChoiceFacts(
        {"compose": compose, "local": local.presence(), "swarm": swarm},
        compose_obstacle=compose_obstacle,
        local_obstacle=local.obstacle(),
        last_used=record.read(config.state),
        can_have_engine=can_have_engine,
        is_engine_named=engine.is_named(),
    )


def _create(name: str, config: Config) -> Runtime:
    if name == "local":
        from invoke_stack.runtimes.local.runtime import LocalRuntime

        return LocalRuntime(config)
    if name == "compose":
        from invoke_stack.runtimes.compose.runtime import ComposeRuntime

        return ComposeRuntime(config)
    from invoke_stack.runtimes.swarm.runtime import SwarmRuntime

    return SwarmRuntime(config)
