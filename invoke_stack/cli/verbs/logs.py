"""Show the logs of services."""

from __future__ import annotations

import io
import os
import sys
from datetime import UTC, datetime

from invoke_stack import config
from invoke_stack.cli.closed_pipe import has_reader
from invoke_stack.cli.glue import (
    JSON,
    RUNTIME,
    Context,
    has_colour,
    make_console,
    open_session,
    verb,
)
from invoke_stack.errors import BadInput


@verb(
    services="comma-separated services; default: backend",
    tail="number of last lines, of all services together",
    follow="keep showing new lines, across restarts",
    since="only lines since an age or time: 10m, 2026-01-31T12:00",
    grep="only lines that match this regular expression",
    json=JSON,
    timestamps="prefix each line with its time (UTC)",
    runtime=RUNTIME,
)
def logs(
    context: Context,
    services: str = "",
    tail: str = "100",
    follow: bool = False,
    since: str = "",
    grep: str = "",
    json: bool = False,
    timestamps: bool = False,
    runtime: str = "",
) -> None:
    """Show logs, merged by time: inv logs [SERVICE,…].

    Shows the backend by default. --follow continues across restarts and engine
    outages without losing or repeating a line. Terminal escapes are removed. A
    terminal shows services, levels, startup markers and --grep matches in
    colour; a pipe gets plain lines.

    Examples:
      inv logs --follow
      inv logs backend,worker --since 10m --timestamps
      inv logs --grep "entrypoint|ERROR" --tail 1000
      inv logs --json | jq -r .text

    Exit codes: 0 shown; 2 invalid value; 4 no such service, or the stack is not
    up; 130 Ctrl-C.
    """
    from invoke_stack.commands.logs import LogOptions, read_logs
    from invoke_stack.render import documents
    from invoke_stack.render.lines import LinePrinter

    max_lines = config.count("--tail", tail)
    start = config.since("--since", since, datetime.now(UTC)) if since else None
    matching = config.pattern("--grep", grep) if grep else None
    names = [name for name in services.split(",") if name]
    if services and not names:
        raise BadInput(f"no service name in {services!r}", "for example: inv logs backend,worker")
    session = open_session(context, runtime, needs_variables=False)
    names = names or [session.config.service]
    lines = read_logs(session, LogOptions(names, max_lines, start, follow, matching))
    colour = _may_have_colour() and has_colour(make_console())
    printer = LinePrinter(names, timestamps, colour, matching, session.config.phases.prefix)
    format_line = documents.line_json if json else printer.text
    if isinstance(sys.stdout, io.TextIOWrapper):
        # On a terminal, or with PYTHONUNBUFFERED, Python would flush after every line.
        sys.stdout.reconfigure(line_buffering=False, write_through=False)
    write, flush = sys.stdout.write, sys.stdout.flush
    for line in lines:
        if line is None:
            flush()
            if not has_reader(sys.stdout):
                return
        else:
            write(format_line(line) + "\n")
    flush()


def _may_have_colour() -> bool:
    # Saves the slow import of Rich in a pipe. FORCE_COLOR is for `inv logs | less -R`.
    return sys.stdout.isatty() or bool(os.environ.get("FORCE_COLOR"))
