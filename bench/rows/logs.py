"""`inv logs`, compared with Docker's own commands."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

from bench.fixtures import Fixtures, time_command, time_inv, time_shell
from bench.measure import Action, Goal, Row
from bench.projects import logged
from harness import memory
from harness.compose_stacks import ComposeStack


@contextlib.contextmanager
def million(fixtures: Fixtures) -> Iterator[tuple[Action, Action]]:
    """Time reading a million lines."""
    with logged(fixtures.folder / "million", 1, 1_000_000) as stack:
        (identity,) = stack.containers("s00")
        yield (
            lambda: time_inv(stack, "logs", "s00", "--tail", "1000000"),
            lambda: time_command(["docker", "logs", "--tail", "1000000", identity], stack),
        )


@contextlib.contextmanager
def constant_memory(fixtures: Fixtures) -> Iterator[tuple[Action, Action]]:
    """Measure the memory for a million lines, compared with ten thousand."""
    with logged(fixtures.folder / "memory", 1, 1_000_000) as stack:
        yield lambda: peak(fixtures, stack, 1_000_000), lambda: peak(fixtures, stack, 10_000)


def peak(fixtures: Fixtures, stack: ComposeStack, tail: int) -> float:
    """Return the peak memory of `inv logs` in MiB."""
    record = fixtures.folder / "peak"
    time_command(
        memory.measured_command(record, stack.command("logs", "s00", "--tail", str(tail))), stack
    )
    return int(record.read_text("ascii")) / 1024


@contextlib.contextmanager
def merged(fixtures: Fixtures) -> Iterator[tuple[Action, Action]]:
    """Time merging the logs of 20 containers, after checking their order."""
    count, lines = 20, 20_000
    with logged(fixtures.folder / "merged", count, lines) as stack:
        names = ",".join(f"s{number:02}" for number in range(count))
        arguments = ("logs", names, "--tail", str(count * lines))
        times = [json.loads(line)["time"] for line in stack.ok(*arguments, "--json").splitlines()]
        assert len(times) == count * lines
        assert times == sorted(times), "the lines are not in order of time"
        yield (
            lambda: time_inv(stack, *arguments),
            lambda: time_shell("docker compose logs --no-color", stack),
        )


ROWS = (
    Row(
        "logs",
        "`inv logs --tail 1000000`, piped",
        "`docker logs --tail 1000000`",
        Goal(1.1),
        million,
    ),
    Row(
        "logs-memory",
        "its memory with 1,000,000 lines",
        "its memory with 10,000 lines",
        Goal(1.1),
        constant_memory,
        "MiB",
    ),
    Row(
        "logs-merged",
        "`inv logs` of 20 containers, 400,000 lines in exact order of time",
        "`docker compose logs` of the same",
        Goal(1.0),
        merged,
    ),
)
