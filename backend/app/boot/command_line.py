"""Split the commands in variables into arguments. No shell runs them; only quotes are special."""

from __future__ import annotations

import os
import shlex

from app.settings import BadSetting


def split(name: str) -> list[str]:
    """Return the arguments in the variable `name`. Raises `BadSetting` without the value."""
    try:
        return shlex.split(os.environ.get(name, ""))
    except ValueError as error:
        raise BadSetting(
            f"{name} cannot be split into arguments: {str(error).lower()}; escape a literal quote: \\'"
        ) from None
