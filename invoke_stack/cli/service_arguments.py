"""Bare words after a verb: `inv logs worker,beat`. Invoke knows no positional that may be left out."""

from __future__ import annotations

from collections.abc import Mapping


def name_services(words: list[str], verbs: Mapping[str, Mapping[str, bool]]) -> list[str]:
    """Put `--services` before the first bare word that follows one of `verbs`.

    `verbs` has, for each verb that takes such a word, its flags and whether a flag takes a value.
    """
    result: list[str] = []
    flags: Mapping[str, bool] | None = None
    value_follows = False
    for word in words:
        if value_follows:
            value_follows = False
        elif word.startswith("-"):
            value_follows = bool(flags) and "=" not in word and bool(flags and flags.get(word))
        elif flags is not None:
            result.append("--services")
            flags = None
        elif word in verbs:
            flags = verbs[word]
        result.append(word)
    return result
