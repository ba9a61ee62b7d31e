"""The errors of the toolkit, each with the exit code of the command."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class StackError(Exception):
    """An error that the user can act on: `message` says what failed, `hint` how to fix it."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class BadInput(StackError):
    """A flag, `.env` or `invoke.yaml` has an invalid value."""

    exit_code = 2


class NotHealthy(StackError):
    """The stack answers, but it is not healthy or was not ready in time."""

    exit_code = 3


class OutOfReach(StackError):
    """No engine answers, the stack is not up, or the service does not exist."""

    exit_code = 4


class Unavailable(OutOfReach):
    """The engine that would run the stack does not answer or rejects the request."""


class Unsupervised(OutOfReach):
    """The supervisor of the stack is gone, but some of its processes still run."""


class OtherCheckout(OutOfReach):
    """The stack of this name belongs to another checkout."""


class CommandFailed(OutOfReach):
    """A command that ran beside a service failed."""


_UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Raise `OutOfReach` if a file in `folder` cannot be written."""
    try:
        yield
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        raise OutOfReach(
            f"cannot write {error.filename or folder}: {error.strerror}",
            f"check its owner and free space: ls -la {folder}; df {folder}",
        ) from None
