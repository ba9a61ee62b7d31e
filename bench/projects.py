"""Small Compose projects for benchmarks: services with a long log, or idle ones."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from harness import dockerized, engines
from harness.compose_stacks import ComposeStack
from harness.servers import wait_until

LIMIT = 300.0  # seconds
LINE = "a log line of typical length, filled up with enough text to look like a real one: "
WRITER = """
  {name}:
    image: redis:7
    command: [sh, -c, "seq -f '{line}%.0f' {lines}; exec sleep 10000"]
    stop_grace_period: 0s
"""
IDLE = """
services:
  idle:
    image: redis:7
    command: [sleep, "10000"]
    init: true
    stop_grace_period: 1s
    deploy: {{replicas: {count}}}
"""


@contextlib.contextmanager
def logged(folder: Path, services: int, lines: int) -> Iterator[ComposeStack]:
    """Yield a project whose services s00, s01, … have each logged `lines` lines."""
    names = [f"s{number:02}" for number in range(services)]
    services_text = (WRITER.format(name=name, line=LINE, lines=lines) for name in names)
    with engines.project(folder, "services:\n" + "".join(services_text)) as stack:
        for name in names:
            (identity,) = stack.containers(name)

            def is_logged(identity: str = identity) -> bool:
                last_line = dockerized.docker("logs", "--tail", "1", identity).stdout
                return last_line == f"{LINE}{lines}\n"

            wait_until("all lines are logged", is_logged, LIMIT)
        yield stack


@contextlib.contextmanager
def replicas(folder: Path, count: int) -> Iterator[ComposeStack]:
    """Yield a project with `count` containers of the service `idle`."""
    with engines.project(folder, IDLE.format(count=count)) as stack:
        yield stack
