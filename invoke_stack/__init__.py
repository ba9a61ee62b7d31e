"""One set of verbs for a web stack, wherever it runs. See `namespace`."""

import sys
from typing import Any

# Undo Invoke's setting: without bytecode, each verb would compile the modules again.
sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)


def __getattr__(name: str) -> Any:
    """Import `namespace` on first use: our programs that are not verbs need no Invoke."""
    if name != "namespace":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from invoke_stack.cli.namespace import namespace

    return namespace
