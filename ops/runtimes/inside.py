"""Running a command inside a container, and asking over HTTP from there."""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from ops.errors import CommandFailed
from ops.model import Answer
from ops.runtimes import engine, pipes

if TYPE_CHECKING:
    from docker import APIClient

_NO_SUCH_PROGRAM = (126, 127)


def run(client: APIClient, identity: str, words: Sequence[str]) -> tuple[int, str, str]:
    """Its exit code, stdout and stderr. Raises `OutOfReach` when the container does not run."""
    with engine.errors():
        made = client.exec_create(identity, list(words))
        said, wrong = client.exec_start(made["Id"], demux=True)
        code = client.exec_inspect(made["Id"])["ExitCode"]
    return (
        code or 0,
        (said or b"").decode("utf-8", "replace"),
        (wrong or b"").decode("utf-8", "replace"),
    )


def execute(client: APIClient, identity: str, words: Sequence[str]) -> str:
    """What it printed. Raises `CommandFailed` with the last line of its complaint."""
    code, said, wrong = run(client, identity, words)
    if code:
        last = (wrong or said).strip().splitlines()[-1:]
        raise CommandFailed(f"`{shlex.join(words)}` failed: {' '.join(last)}", "see: inv logs")
    return said


def pipe(
    identity: str, words: Sequence[str], *, source: BinaryIO | None, sink: BinaryIO | None
) -> None:
    """Run it with files as its input and output, as `pipes.run` does."""
    # The SDK offers no input that is portable: a socket whose kind depends on the platform.
    command = ("docker", "exec", "--interactive", identity, *words)
    pipes.run(command, source=source, sink=sink)


def get(client: APIClient, identity: str, url: str, timeout: float) -> Answer:
    """GET a URL within `timeout` seconds, with the wget or curl that the container has for its probe.

    Without either, the answer has no URL. Raises `OutOfReach` when the container does not run.
    """
    seconds = f"{timeout:g}"
    wget = ("wget", "-S", "-nv", "-O", "-", "--content-on-error", "--no-proxy", "-t", "1")
    curl = ("curl", "-sS", "--noproxy", "*", "-w", "%{stderr}HTTP/1.1 %{http_code}\n")
    start = time.perf_counter()
    for words in ((*wget, "-T", seconds, url), (*curl, "-m", seconds, url)):
        code, said, wrong = run(client, identity, words)
        if code not in _NO_SUCH_PROGRAM:
            break
    else:
        return Answer("", None, {}, 0.0, "its container has neither wget nor curl")
    status = re.findall(r"HTTP/1\.\d ([1-5]\d\d)", wrong)
    try:
        body = json.loads(said)
    except ValueError:
        body = {}
    problem = "" if status else (wrong.strip().splitlines() or [f"no answer within {seconds} s"])[0]
    answered = int(status[-1]) if status else None
    return Answer(url, answered, body, time.perf_counter() - start, problem)


def port(inspected: Mapping[str, Any]) -> int:
    """The port that a container's (or an image's) process listens on: its PORT, or what it exposes."""
    for setting in inspected["Config"].get("Env") or ():
        name, _, value = setting.partition("=")
        if name == "PORT" and value.isdigit():
            return int(value)
    exposed = sorted(inspected["Config"].get("ExposedPorts") or {"80/tcp": {}})
    return int(exposed[0].partition("/")[0])
