"""Become the application: execute UVICORN_CMD in this process."""

from __future__ import annotations

import os
import sys

from app import words
from app.startup import LISTENER, end_responder


def main() -> int:
    port = os.environ["PORT"]
    # No shell is there to do it, and people write it.
    command = [
        word.replace("${PORT}", port).replace("$PORT", port) for word in words.split("UVICORN_CMD")
    ]
    if not any(word == "--fd" or word.startswith("--fd=") for word in command):
        # It binds PORT itself: free it, at the price of a moment in which nobody listens.
        os.close(LISTENER)
        end_responder()
    try:
        os.execvp(command[0], command)  # noqa: S606  no shell, on purpose
    except OSError as error:
        print(f"[entrypoint] UVICORN_CMD: {command[0]}: {error.strerror}", file=sys.stderr)
        return 127


if __name__ == "__main__":
    sys.exit(main())
