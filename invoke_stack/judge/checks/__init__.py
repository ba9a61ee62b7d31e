"""Finds what is wrong with a stack, and names what fixes it. Nothing is ever changed.

A check is a function from the facts to findings; it raises the error of a fact that it needs and
that is not known, or `Skipped`. Its module says what it is about.
"""

from __future__ import annotations

from collections.abc import Iterator

from invoke_stack.errors import StackError
from invoke_stack.judge.checks import env_file, environment, services
from invoke_stack.model import CheckResult, Finding
from invoke_stack.profile import Diagnosis, Profile
from invoke_stack.profile.facts import Check, Facts


def punctual(facts: Facts) -> Iterator[Finding]:
    """Everything that was asked answered in time."""
    if facts.timed_out:
        what = f"no answer in time from: {', '.join(facts.timed_out)}"
        asked = "docker info" if facts.in_containers else "inv status"
        yield Finding(
            what, (), f"see whether this machine is overloaded, or one of them hangs: {asked}"
        )


CHECKS = (
    Check("context", environment.context),
    Check("engine", environment.engine),
    Check("compose", environment.compose),
    Check("answers", punctual),
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
"""Those that make sense for every project, causes before their effects."""


def examine(facts: Facts) -> list[CheckResult]:
    """Make every check that applies to this project."""
    return [_result(check, facts) for check in facts.diagnosis.checks]


def diagnosis_of(profile: Profile) -> Diagnosis:
    """Return what `doctor` knows about a project: by default the general checks."""
    return profile.diagnosis() if profile.diagnosis else Diagnosis(CHECKS)


def _result(check: Check, facts: Facts) -> CheckResult:
    try:
        return CheckResult(check.name, tuple(check.find(facts)))
    except StackError as error:
        return CheckResult(check.name, skipped=error.message)
