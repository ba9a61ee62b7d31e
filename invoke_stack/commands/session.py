"""What every command works on: the configuration and the runtime."""

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
    """The checked configuration, the selected runtime, and a way to report progress."""

    config: Config
    runtime: Runtime
    say: Say

    @contextmanager
    def locked(self, verb: str) -> Iterator[None]:
        """Hold the stack's lock. Raises `OutOfReach` if another process holds it."""
        with lock.hold(self.config.state, verb):
            yield


def open_session(config: Config, say: Say, variable_errors: Sequence[BadInput] = ()) -> Session:
    """Select the runtime and return the session; `say` gets the choice and why, if it was open.

    `variable_errors` are problems with the stack's variables. They are only notices for a runtime
    that does not read these variables, and raised for any other. Raises `StackError`.
    """
    try:
        runtime = select.select_runtime(config, say)
    except StackError:
        if variable_errors:
            raise variable_errors[0] from None
        raise
    if variable_errors and runtime.capabilities.containers:
        raise variable_errors[0]
    for error in variable_errors:
        say(f"notice: {error.message}; before the next inv up: {error.hint}")
    return Session(config, runtime, say)
