"""Small Compose projects that are measured: services that have written a log, or do nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from harness import dockerized, engines
from harness.compose_stacks import ComposeStack
from harness.servers import wait_until

LIMIT = 300.0  # seconds
LINE = "a line of the usual length, as a service writes it for somebody to read some day: "
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
def written(folder: Path, services: int, lines: int) -> Iterator[ComposeStack]:
    """A project whose services s00, s01, … have each written so many lines."""
    names = [f"s{number:02}" for number in range(services)]
    each = (WRITER.format(name=name, line=LINE, lines=lines) for name in names)
    with engines.project(folder, "services:\n" + "".join(each)) as stack:
        for name in names:
            (identity,) = stack.containers(name)

            def is_written(identity: str = identity) -> bool:
                last = dockerized.docker("logs", "--tail", "1", identity).stdout
                return last == f"{LINE}{lines}\n"

            wait_until("it is written", is_written, LIMIT)
        yield stack


@contextlib.contextmanager
def replicas(folder: Path, count: int) -> Iterator[ComposeStack]:
    """A project with so many containers of the service `idle`."""
    with engines.project(folder, IDLE.format(count=count)) as stack:
        yield stack
