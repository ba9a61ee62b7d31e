"""What can go wrong, each kind with the exit code that the command ends with."""

from __future__ import annotations


class OpsError(Exception):
    """Something that the user can act on: `message` says what, `hint` what to do now."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class BadInput(OpsError):
    """A flag, `.env` or `invoke.yaml` holds a value that cannot be used."""

    exit_code = 2


class NotHealthy(OpsError):
    """The stack answered, but it is not healthy, or not ready in time."""

    exit_code = 3


class OutOfReach(OpsError):
    """No engine, the stack is not up, or there is no such service."""

    exit_code = 4
