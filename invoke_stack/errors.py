"""What can go wrong, each kind with the exit code that the command ends with."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class StackError(Exception):
    """Something that the user can act on: `message` says what, `hint` what to do now."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class BadInput(StackError):
    """A flag, `.env` or `invoke.yaml` holds a value that cannot be used."""

    exit_code = 2


class NotHealthy(StackError):
    """The stack answered, but it is not healthy, or not ready in time."""

    exit_code = 3


class OutOfReach(StackError):
    """No engine, the stack is not up, or there is no such service."""

    exit_code = 4


class Unavailable(OutOfReach):
    """No engine answers where the stack would run, or it refuses to."""


class Unsupervised(OutOfReach):
    """Nobody watches over the stack any more, while some of its processes still run."""


class OtherCheckout(OutOfReach):
    """The stack of this name belongs to another checkout."""


class CommandFailed(OutOfReach):
    """A command that ran beside a service ended with an error."""


_UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Tells what of `folder` cannot be written, as an `OutOfReach`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        raise OutOfReach(
            f"cannot write {error.filename or folder}: {error.strerror}",
            f"see whose it is, and its disk: ls -la {folder}; df {folder}",
        ) from None
