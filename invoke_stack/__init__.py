"""Verbs to run and watch a web stack, on any of its runtimes; see `namespace`."""

import sys
from typing import Any

# Invoke turns off the writing of bytecode, so every run of a verb would compile modules again.
# Restore what Python's own flags say.
sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)


def __getattr__(name: str) -> Any:
    """Import `namespace` on first use, so that programs that are not verbs need no Invoke."""
    if name != "namespace":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from invoke_stack.cli.namespace import namespace

    return namespace
