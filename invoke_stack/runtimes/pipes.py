"""Running a command whose input and output are files."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from typing import BinaryIO

from invoke_stack.errors import CommandFailed, OutOfReach


def run(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    source: BinaryIO | None = None,
    sink: BinaryIO | None = None,
) -> None:
    """Run a command to its end, from `source` to `sink`; without a sink it prints to stderr.

    Raises `CommandFailed` with the last line of its complaint.
    """
    with tempfile.TemporaryFile() as wrong:
        try:
            code = subprocess.run(
                command,
                env=env,
                stdin=source or subprocess.DEVNULL,
                stdout=sink or 2,
                stderr=wrong if sink else None,
            ).returncode
        except FileNotFoundError:
            raise OutOfReach(f"the command `{command[0]}` is not installed", "install it") from None
        wrong.seek(0)
        said = wrong.read().decode("utf-8", "replace").strip().splitlines()[-1:]
    if code:
        raise CommandFailed(said[0] if said else f"it ended with exit code {code}", "see: inv logs")
