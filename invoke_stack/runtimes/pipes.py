"""Runs a command with files as its input and output."""

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
    """Run a command from `source` to `sink` and wait for it; without a sink it prints to stderr.

    Raises `CommandFailed` with the last line of the command's error output.
    """
    with tempfile.TemporaryFile() as stderr:
        try:
            code = subprocess.run(
                command,
                env=env,
                stdin=source or subprocess.DEVNULL,
                stdout=sink or 2,
                stderr=stderr if sink else None,
            ).returncode
        except FileNotFoundError:
            raise OutOfReach(f"the command `{command[0]}` is not installed", "install it") from None
        stderr.seek(0)
        last_line = stderr.read().decode("utf-8", "replace").strip().splitlines()[-1:]
    if code:
        reason = last_line[0] if last_line else f"the command failed with exit code {code}"
        raise CommandFailed(reason, "see: inv logs")
