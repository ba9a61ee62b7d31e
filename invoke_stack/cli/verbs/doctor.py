"""Find problems of the stack, and show how to fix them."""

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
    load_config,
    make_console,
    stop_status,
    verb,
)
from invoke_stack.errors import BadInput, NotHealthy
from invoke_stack.model import Result
from invoke_stack.render import documents

if TYPE_CHECKING:
    from invoke_stack.commands.gather import ShowPending

PROGRESS_AFTER = 1.0  # seconds until a terminal shows which checks are still running


@verb(json=JSON, runtime=RUNTIME)
def doctor(context: Context, json: bool = False, runtime: str = "") -> None:
    """Find problems, and show how to fix them.

    Checks the engine, .env, ports, disks, clocks, the checkout's migrations and
    every service in parallel, for at most 10 s; also when nothing is up. Shows
    for each problem the evidence and the command that fixes it. Changes nothing.

    Examples:
      inv doctor
      inv doctor --runtime compose
      inv doctor --json | jq -r '.findings[] | .what, .remedy'

    Exit codes: 0 no problems; 2 invalid flag; 3 problems found; 130 Ctrl-C.
    """
    from invoke_stack.cli.screen import findings
    from invoke_stack.commands.doctor import diagnose

    start = time.monotonic()
    refused: list[BadInput] = []
    config = load_config(context, runtime, refused.append)
    with _progress() as waiting:
        runtime_name, check_results = diagnose(config, refused, os.environ, waiting)
    if json:
        print(documents.dumps(documents.check_results_json(check_results, runtime_name)))
    else:
        seconds = time.monotonic() - start
        findings.print_findings(make_console(), check_results, runtime_name, seconds)
    if any(check_result.result is Result.WRONG for check_result in check_results):
        raise Exit(code=NotHealthy.exit_code)


@contextmanager
def _progress() -> Iterator[ShowPending]:
    """Show on a terminal which checks are still running, if they take a while."""
    console = make_console(stderr=True)
    status = console.status("")

    def waiting(names: Sequence[str], seconds: float) -> None:
        if console.is_terminal and seconds > PROGRESS_AFTER:
            status.update(f"{seconds:.0f} s: waiting for {', '.join(names)}")
            status.start()

    try:
        yield waiting
    finally:
        stop_status(status)
