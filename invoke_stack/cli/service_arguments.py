"""Optional positional arguments: `inv logs worker,beat`. Invoke only has required ones."""

from __future__ import annotations

from collections.abc import Mapping


def name_services(arguments: list[str], verbs: Mapping[str, Mapping[str, bool]]) -> list[str]:
    """Return the arguments with `--services` before the first positional one of each verb.

    `verbs` maps each verb that takes services to its flags, and each flag to whether it takes a
    value.
    """
    result: list[str] = []
    flags: Mapping[str, bool] | None = None
    value_follows = False
    for argument in arguments:
        if value_follows:
            value_follows = False
        elif argument.startswith("-"):
            takes_value = bool(flags and flags.get(argument))
            value_follows = takes_value and "=" not in argument
        elif flags is not None:
            result.append("--services")
            flags = None
        elif argument in verbs:
            flags = verbs[argument]
        result.append(argument)
    return result
