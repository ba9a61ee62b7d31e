"""`inv logs` against Docker's own commands."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

from bench.measure import Action, Goal, Row
from bench.place import Place, inv, seconds, shell
from bench.projects import written
from harness import memory
from harness.compose_stacks import ComposeStack


@contextlib.contextmanager
def million(place: Place) -> Iterator[tuple[Action, Action]]:
    with written(place.folder / "million", 1, 1_000_000) as stack:
        (identity,) = stack.containers("s00")
        yield (
            lambda: inv(stack, "logs", "s00", "--tail", "1000000"),
            lambda: seconds(["docker", "logs", "--tail", "1000000", identity], stack),
        )


@contextlib.contextmanager
def constant_memory(place: Place) -> Iterator[tuple[Action, Action]]:
    """A million lines against ten thousand, by the same verb."""
    with written(place.folder / "memory", 1, 1_000_000) as stack:
        yield lambda: peak(place, stack, 1_000_000), lambda: peak(place, stack, 10_000)


def peak(place: Place, stack: ComposeStack, tail: int) -> float:
    """The most memory that `inv logs` takes, in MiB."""
    record = place.folder / "peak"
    seconds(
        memory.measured_command(record, stack.command("logs", "s00", "--tail", str(tail))), stack
    )
    return int(record.read_text("ascii")) / 1024


@contextlib.contextmanager
def merged(place: Place) -> Iterator[tuple[Action, Action]]:
    count, lines = 20, 20_000
    with written(place.folder / "merged", count, lines) as stack:
        names = ",".join(f"s{number:02}" for number in range(count))
        words = ("logs", names, "--tail", str(count * lines))
        told = [json.loads(line)["time"] for line in stack.ok(*words, "--json").splitlines()]
        assert len(told) == count * lines
        assert told == sorted(told), "the lines are not in order of time"
        yield lambda: inv(stack, *words), lambda: shell("docker compose logs --no-color", stack)


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
