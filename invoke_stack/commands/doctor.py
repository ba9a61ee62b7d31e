"""Find out what is wrong with a stack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from invoke_stack.commands.gather import ShowPending, gather
from invoke_stack.config import Config
from invoke_stack.errors import BadInput
from invoke_stack.judge import checks
from invoke_stack.model import CheckResult


def diagnose(
    config: Config,
    variable_errors: Sequence[BadInput],
    environ: Mapping[str, str],
    show_pending: ShowPending,
) -> tuple[str, list[CheckResult]]:
    """Return the name of the examined runtime, and the result of each check. Changes nothing.

    `variable_errors` are problems with the stack's variables.
    """
    facts = gather(config, variable_errors, environ, show_pending)
    return facts.runtime, checks.examine(facts)
