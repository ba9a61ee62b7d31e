"""What a command works on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from invoke_stack.commands import lock
from invoke_stack.config import Config
from invoke_stack.errors import BadInput, StackError
from invoke_stack.runtimes import select
from invoke_stack.runtimes.base import Runtime, Say


@dataclass(frozen=True)
class Session:
    """The checked configuration, the runtime that it means, and a way to tell the user something."""

    config: Config
    runtime: Runtime
    say: Say

    @contextmanager
    def changing(self, verb: str) -> Iterator[None]:
        """Hold the stack's lock. Raises `OutOfReach` naming the holder when another command has it."""
        with lock.held(self.config.state, verb):
            yield


def begin(config: Config, say: Say, refused: Sequence[BadInput] = ()) -> Session:
    """Pick the runtime. `say` gets which one, and why, where that was left open.

    `refused` is what is wrong with the stack's variables. It is only told where nothing is asked
    through them, and raised elsewhere. Raises `StackError`.
    """
    try:
        runtime = select.select_runtime(config, say)
    except StackError:
        if refused:
            raise refused[0] from None
        raise
    if refused and runtime.capabilities.containers:
        raise refused[0]
    for problem in refused:
        say(f"notice: {problem.message}; before the next inv up: {problem.hint}")
    return Session(config, runtime, say)
