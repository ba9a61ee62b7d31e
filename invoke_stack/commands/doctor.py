"""Finds what is wrong with a stack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from invoke_stack.commands.gather import Waiting, gather
from invoke_stack.config import Config
from invoke_stack.errors import BadInput
from invoke_stack.judge import checks
from invoke_stack.model import CheckResult


def examine(
    config: Config, refused: Sequence[BadInput], environ: Mapping[str, str], waiting: Waiting
) -> tuple[str, list[CheckResult]]:
    """Return the name of the runtime that was examined, and what each check found.

    `refused` is what is wrong with the stack's variables. Changes nothing.
    """
    facts = gather(config, refused, environ, waiting)
    return facts.runtime, checks.examine(facts)
