"""Find what is wrong with the stack, and what mends it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from invoke_stack.cli.glue import (
    JSON,
    RUNTIME,
    Context,
    Exit,
    configure,
    stop_status,
    terminal,
    verb,
)
from invoke_stack.errors import BadInput, NotHealthy
from invoke_stack.model import Result
from invoke_stack.render import documents

if TYPE_CHECKING:
    from invoke_stack.commands.gather import ShowPending

PATIENCE = 1.0  # seconds after which a terminal is told what is being waited for


@verb(json=JSON, runtime=RUNTIME)
def doctor(context: Context, json: bool = False, runtime: str = "") -> None:
    """Find what is wrong, and what mends it.

    Looks at the engine, .env, ports, disks, clocks, the checkout's migrations and
    every service, all at once, for 10 s at most; also when nothing is up. Each
    finding: what is wrong, how that shows, and the command that mends it. It
    changes nothing.

    Examples:
      inv doctor
      inv doctor --runtime compose
      inv doctor --json | jq -r '.findings[] | .what, .remedy'

    Exit codes: 0 nothing is wrong; 3 something is; 2 a bad flag; 130 Ctrl-C.
    """
    from invoke_stack.cli.screen import findings
    from invoke_stack.commands.doctor import diagnose

    begin = time.monotonic()
    refused: list[BadInput] = []
    configured = configure(context, runtime, refused.append)
    with _telling() as waiting:
        runtime_name, check_results = diagnose(configured, refused, os.environ, waiting)
    if json:
        print(documents.dumps(documents.check_results_json(check_results, runtime_name)))
    else:
        seconds = time.monotonic() - begin
        findings.findings_text(terminal(), check_results, runtime_name, seconds)
    if any(each.result is Result.WRONG for each in check_results):
        raise Exit(code=NotHealthy.exit_code)


@contextmanager
def _telling() -> Iterator[ShowPending]:
    """Shows what is being waited for, on a terminal, and only once that takes a while."""
    console = terminal(stderr=True)
    status = console.status("")

    def waiting(names: Sequence[str], seconds: float) -> None:
        if console.is_terminal and seconds > PATIENCE:
            status.update(f"{seconds:.0f} s: waiting for {', '.join(names)}")
            status.start()

    try:
        yield waiting
    finally:
        stop_status(status)
