"""The words of a command that a variable holds: quotes count, nothing else does. Never a shell."""

from __future__ import annotations

import os
import shlex

from app.settings import BadSetting


def split(name: str) -> list[str]:
    """The words of the variable `name`. Raises `BadSetting`, which does not quote the value."""
    try:
        return shlex.split(os.environ.get(name, ""))
    except ValueError as error:
        raise BadSetting(
            f"{name} cannot be split into words: {str(error).lower()}; write \\' for a quote as such"
        ) from None
