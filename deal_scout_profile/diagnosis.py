"""The checks, facts and remedies of deal-scout for `inv doctor`."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from deal_scout_profile import addresses, checkout, commands, services
from invoke_stack.judge import checks
from invoke_stack.model import Finding
from invoke_stack.profile import Diagnosis, Fact
from invoke_stack.profile.facts import Check, Facts

_REPLACEMENTS: dict[str, Callable[[Facts], Iterable[Finding]]] = {
    "probes": services.probes,
    "health": services.health,
}
_ADDITIONS = {
    "env": [Check("addresses", addresses.addresses)],
    "clock": [
        Check("entrypoint", checkout.entrypoint),
        Check("revisions", checkout.revisions),
        Check("alembic-cmd", commands.alembic),
        Check("uvicorn-cmd", commands.uvicorn),
    ],
    "health": [Check("heartbeats", services.heartbeats), Check("schema", services.schema)],
    "configuration": [Check("signals", services.signals), Check("grace", services.grace)],
}
"""By the name of the general check that they follow."""


def _checks() -> tuple[Check, ...]:
    result = []
    for check in checks.CHECKS:
        result.append(Check(check.name, _REPLACEMENTS.get(check.name, check.find)))
        result += _ADDITIONS.get(check.name, ())
    return tuple(result)


DIAGNOSIS = Diagnosis(
    checks=_checks(),
    facts={
        "script": Fact("the entrypoint", checkout.read_entrypoint, asks_service=False),
        "revisions": Fact("the migrations", checkout.read_revisions, asks_service=False),
        "missing": Fact("the programs", commands.missing_programs),
        "failing": Fact("the schema", services.failing_migrations),
    },
    causes=services.remembered_causes,
    remedies=services.REMEDIES,
)
