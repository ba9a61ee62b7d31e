"""One set of verbs for a web stack, wherever it runs; see `namespace`."""

import sys
from typing import Any

# Invoke forbids it, and then each verb would compile what pip has not compiled. As Python was told:
sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)


def __getattr__(name: str) -> Any:
    """Import `namespace` when it is asked for: programs of ours that are no verbs need no Invoke."""
    if name != "namespace":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from invoke_stack.cli.namespace import namespace

    return namespace
