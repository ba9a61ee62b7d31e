"""Find the problems of a stack and how to fix them. Changes nothing.

A check is a function from Facts to Findings. It raises `Skipped`, or the error of a fact that it
needs and that is unknown.
"""

from __future__ import annotations

from collections.abc import Iterator

from invoke_stack.errors import StackError
from invoke_stack.judge.checks import env_file, environment, services
from invoke_stack.model import CheckResult, Finding
from invoke_stack.profile import Diagnosis, Profile
from invoke_stack.profile.facts import Check, Facts


def timeouts(facts: Facts) -> Iterator[Finding]:
    """Find the facts that were not available in time."""
    if facts.timed_out:
        what = f"timed out waiting for: {', '.join(facts.timed_out)}"
        command = "docker info" if facts.in_containers else "inv status"
        yield Finding(
            what, (), f"check the load of this machine, and whether this hangs: {command}"
        )


CHECKS = (
    Check("context", environment.context),
    Check("engine", environment.engine),
    Check("compose", environment.compose),
    Check("answers", timeouts),
    Check("env", env_file.env),
    Check("project", environment.project),
    Check("ports", environment.ports),
    Check("disk", environment.disks),
    Check("clock", environment.clock),
    Check("running", services.running),
    Check("memory", services.memory),
    Check("restarts", services.restarts),
    Check("probes", services.probes),
    Check("health", services.health),
    Check("configuration", services.configuration),
)
"""The checks for every project, causes before their effects."""


def examine(facts: Facts) -> list[CheckResult]:
    """Run every check of this project."""
    return [_result(check, facts) for check in facts.diagnosis.checks]


def diagnosis_of(profile: Profile) -> Diagnosis:
    """Return the Diagnosis of a project, by default the general checks."""
    return profile.diagnosis() if profile.diagnosis else Diagnosis(CHECKS)


def _result(check: Check, facts: Facts) -> CheckResult:
    try:
        return CheckResult(check.name, tuple(check.find(facts)))
    except StackError as error:
        return CheckResult(check.name, skipped=error.message)
