"""Become the application: execute UVICORN_CMD in this process."""

from __future__ import annotations

import os
import re
import sys

from app.boot import command_line
from app.boot.startup import LISTENER, end_responder

PORT = re.compile(r"\$(?:\{PORT\}|PORT(?!\w))", re.ASCII)  # as a shell reads it: $PORTAL is another


def main() -> int:
    # No shell is there to do it, and people write it.
    command = [PORT.sub(os.environ["PORT"], word) for word in command_line.split("UVICORN_CMD")]
    if not any(word == "--fd" or word.startswith("--fd=") for word in command):
        # It binds PORT itself: free it, at the price of a moment in which nobody listens.
        os.close(LISTENER)
        end_responder()
        os.environ.pop("RESPONDER_PID", None)  # it may become the id of another process
    try:
        os.execvp(command[0], command)  # noqa: S606  no shell, on purpose
    except OSError as error:
        print(f"[entrypoint] UVICORN_CMD: {command[0]}: {error.strerror}", file=sys.stderr)
        return 127


if __name__ == "__main__":
    sys.exit(main())
