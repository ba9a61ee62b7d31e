"""Replace this process with the application: execute UVICORN_CMD."""

from __future__ import annotations

import os
import re
import sys

from app.boot import command_line
from app.boot.startup import LISTENER_FD, stop_responder

PORT = re.compile(r"\$(?:\{PORT\}|PORT(?!\w))", re.ASCII)  # as in a shell, $PORTAL does not match


def main() -> int:
    """Execute UVICORN_CMD. Returns the exit code 127 if it cannot be executed."""
    # Users write $PORT, and no shell expands it.
    command = [
        PORT.sub(os.environ["PORT"], argument) for argument in command_line.split("UVICORN_CMD")
    ]
    if not any(argument == "--fd" or argument.startswith("--fd=") for argument in command):
        # The command binds PORT itself, so free it. For a moment, nothing listens.
        os.close(LISTENER_FD)
        stop_responder()
        os.environ.pop("RESPONDER_PID", None)  # the kernel may reuse the id
    try:
        os.execvp(command[0], command)  # noqa: S606  no shell, on purpose
    except OSError as error:
        print(f"[entrypoint] UVICORN_CMD: {command[0]}: {error.strerror}", file=sys.stderr)
        return 127


if __name__ == "__main__":
    sys.exit(main())
