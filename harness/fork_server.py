"""Server that imports Invoke and the other libraries once, and forks for each `inv` of a test.

A test session starts `inv` some two thousand times, and half of each start is spent on the same
imports. The toolkit itself is imported by the fork, from the checkout under test; this module must
not import it. `harness.fork_client` is the client.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import sys
import time

LIBRARIES = ("docker", "psutil", "rich.console", "rich.live", "rich.table", "xmlrpc.client")


def _serve(control: socket.socket) -> None:
    """Fork for each request until the client disconnects. Returns in the fork only."""
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.freeze()  # or garbage collection in each fork would write to, and copy, every page
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the commands
    while True:
        request, fds, _, _ = socket.recv_fds(control, 1_000_000, 4)
        if not request:
            sys.exit()
        if os.fork() == 0:
            control.close()
            _become_command(request, fds)
            return
        for fd in fds:
            os.close(fd)


def _become_command(request: bytes, fds: list[int]) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    arguments, folder, environment = json.loads(request)
    for number, fd in enumerate(fds[:3]):
        os.dup2(fd, number)
        os.close(fd)
    # The inherited objects were set up for the files of the server.
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    os.chdir(folder)
    sys.path[0] = folder
    # argv[0] as `python -m invoke` sets it.
    sys.argv = [sys.modules["invoke"].__path__[0] + "/__main__.py", *arguments]
    os.set_inheritable(fds[3], False)
    channel = socket.socket(fileno=fds[3])
    channel.sendall(b"%d " % os.getpid())
    # Exit handlers run in reverse order: this one is last, after all threads have ended.
    atexit.register(lambda: channel.sendall(b"%d" % _Exit.code))


class _Exit:
    code = 1  # Python's exit code after an uncaught exception


def _main() -> None:
    from invoke.main import program

    _serve(socket.socket(fileno=int(sys.argv[1])))
    try:
        program.run()
        _Exit.code = 0
    except SystemExit as end:
        _Exit.code = end.code if isinstance(end.code, int) else int(end.code is not None)
        raise


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        _main()
