"""Show what the services say."""

from __future__ import annotations

import io
import os
import sys
from datetime import UTC, datetime

from invoke_stack import config
from invoke_stack.cli.glue import JSON, RUNTIME, Context, coloured, start, terminal, verb
from invoke_stack.errors import BadInput


@verb(
    services="services to show, with commas between them; by default the backend",
    tail="how many of the last lines, over all services together",
    follow="go on with what comes, across restarts",
    since="only lines after this age or time, such as 10m",
    grep="only lines that match this regular expression",
    json=JSON,
    timestamps="begin each line with its time (UTC)",
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
    """Show log lines: inv logs [SERVICE,…], merged by time.

    The backend's by default. With --follow it goes on across restarts, and when
    the engine was away, without losing or repeating a line. Terminal escapes in
    the lines are taken out. On a terminal services, levels, markers of the start
    and what --grep found are coloured; in a pipe the lines are as they were said.

    Examples:
      inv logs --follow
      inv logs backend,worker --since 10m --timestamps
      inv logs --grep "entrypoint|ERROR" --tail 1000
      inv logs --json | jq -r .text

    Exit codes: 0 shown; 2 a bad value; 4 there is no such service, or the stack
    is not up; 130 Ctrl-C.
    """
    from invoke_stack.commands.logs import LogOptions, read_logs
    from invoke_stack.render import documents
    from invoke_stack.render.lines import LinePrinter

    most = config.count("--tail", tail)
    after = config.since("--since", since, datetime.now(UTC)) if since else None
    matching = config.pattern("--grep", grep) if grep else None
    named = [name for name in services.split(",") if name]
    if services and not named:
        raise BadInput(f"{services!r} names no service", "for example: inv logs backend,worker")
    session = start(context, runtime, needs_variables=False)
    names = named or [session.config.service]
    found = read_logs(session, LogOptions(names, most, after, follow, matching))
    colour = _is_terminal() and coloured(terminal())
    printer = LinePrinter(names, timestamps, colour, matching, session.config.phases.prefix)
    show = documents.line_json if json else printer.text
    if isinstance(sys.stdout, io.TextIOWrapper):
        # On a terminal, and with PYTHONUNBUFFERED, Python would write each line by itself.
        sys.stdout.reconfigure(line_buffering=False, write_through=False)
    write, flush = sys.stdout.write, sys.stdout.flush
    for line in found:
        if line is None:
            flush()
        else:
            write(show(line) + "\n")
    flush()


def _is_terminal() -> bool:
    # Asked before Rich is, which takes its time to load. FORCE_COLOR is for `inv logs | less -R`.
    return sys.stdout.isatty() or bool(os.environ.get("FORCE_COLOR"))
