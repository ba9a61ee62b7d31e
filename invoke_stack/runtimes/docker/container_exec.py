"""Runs commands inside a container, and sends HTTP requests from there."""

from __future__ import annotations

import json
import math
import re
import shlex
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar
from urllib.parse import quote

from invoke_stack.errors import CommandFailed, OutOfReach
from invoke_stack.model import Answer
from invoke_stack.runtimes import pipes
from invoke_stack.runtimes.docker import engine

if TYPE_CHECKING:
    from docker import APIClient

T = TypeVar("T")

START_LIMIT = 5.0  # seconds the engine may take to run a request, on top of the request's timeout
_NO_SUCH_PROGRAM = (126, 127)  # exit codes
_TIMED_OUT = (124, 137, 142, 143)  # exit codes after `timeout`, SIGKILL, SIGALRM, SIGTERM
_MAX_BODY = 1 << 20  # bytes of a response

_PYTHON = f"""
import http.client, signal, sys
signal.alarm(int(sys.argv[2]))
host, _, path = sys.argv[1].partition("://")[2].partition("/")
connection = http.client.HTTPConnection(host)
connection.request("GET", "/" + path)
response = connection.getresponse()
body = response.read({_MAX_BODY})
sys.stdout.buffer.write(b"HTTP/1.1 %d\\r\\n\\r\\n" % response.status + body)
"""

# Sends the request with the first program that exists. Each has its own timeout, because it outlives a
# client that disconnects; none uses a proxy or follows redirects. The last one (BusyBox) prints no
# body of an error, and its own timeout option (-T) crashes Debian's build.
_SHELL = """
url=$1 seconds=$2 python=$3
has() { command -v "$1" >/dev/null 2>&1; }
if has curl; then
    exec curl -q -sSi --noproxy '*' -m "$seconds" "$url"
fi
if has timeout && has wget && wget --version 2>/dev/null | grep -q GNU; then
    exec timeout "$seconds" \\
        wget -S -nv -O - --content-on-error --no-proxy --max-redirect=0 -t 1 "$url"
fi
for program in python3 python; do
    if has "$program"; then exec "$program" -c "$python" "$url" "$seconds"; fi
done
if has timeout && has wget; then
    exec timeout "$seconds" wget -S -q -O - -Y off "$url"
fi
exit 127
"""


def run(
    client: APIClient, container: str, command: Sequence[str], seconds: float
) -> tuple[int, str, str]:
    """Run a command in a container and return its exit code, stdout and stderr.

    Raises:
        OutOfReach: the container is not running, or the command takes more than `seconds`; the
            command itself continues then.
    """

    def call() -> tuple[int, bytes | None, bytes | None]:
        with engine.errors():
            exec_id = client.exec_create(container, list(command))["Id"]
            stdout, stderr = client.exec_start(exec_id, demux=True)
            return client.exec_inspect(exec_id)["ExitCode"] or 0, stdout, stderr

    try:
        # The SDK reads the output of an exec without any timeout.
        code, stdout, stderr = within(seconds, call)
    except TimeoutError:
        raise OutOfReach(
            f"`{command[0]}` in container {container[:12]} took more than {seconds:.0f} s",
            "check whether the engine is overloaded: docker info",
        ) from None
    return code, _text(stdout), _text(stderr)


def within(seconds: float, call: Callable[[], T]) -> T:
    """Return the result of a call; raise `TimeoutError` if it takes more than `seconds`.

    The call runs on a daemon thread, so that a call that hangs cannot block the exit.
    """
    result: Future[T] = Future()

    def work() -> None:
        try:
            result.set_result(call())
        except Exception as error:
            result.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return result.result(seconds)


def execute(client: APIClient, container: str, command: Sequence[str], seconds: float) -> str:
    """Run a command in a container and return its stdout.

    Raises `CommandFailed` with the last line of its stderr, and what `run` raises.
    """
    code, stdout, stderr = run(client, container, command, seconds)
    if code:
        last = (stderr or stdout).strip().splitlines()[-1:]
        raise CommandFailed(f"`{shlex.join(command)}` failed: {' '.join(last)}", "see: inv logs")
    return stdout


def pipe(
    container: str, command: Sequence[str], *, source: BinaryIO | None, sink: BinaryIO | None
) -> None:
    """Run a command in a container with files as its input and output, as `pipes.run` does."""
    # The SDK has no portable input: it returns a socket whose type depends on the platform.
    arguments = ("docker", "exec", "--interactive", container, *command)
    pipes.run(arguments, source=source, sink=sink)


def get(client: APIClient, container: str, url: str, timeout: float) -> Answer:
    """GET a URL within `timeout` seconds, with the curl, wget or Python of the container.

    The answer's `was_sent` is False if the container has none of them, or if they fail in a way
    that says nothing about the service. Raises `OutOfReach` if the container is not running, or the
    engine does not run the program in time.
    """
    start = time.perf_counter()
    arguments = (quote(url, safe="%/?:@!$&'()*+,;=~[]"), str(math.ceil(timeout)))
    for command in (
        ("sh", "-c", _SHELL, "sh", *arguments, _PYTHON),
        ("python3", "-c", _PYTHON, *arguments),  # an image without a shell
        ("python", "-c", _PYTHON, *arguments),
    ):
        remaining = start + timeout + START_LIMIT - time.perf_counter()
        code, stdout, stderr = run(client, container, command, max(1.0, remaining))
        if code not in _NO_SUCH_PROGRAM:
            seconds = time.perf_counter() - start
            answer = _answer(url, code, stdout, stderr, seconds, timeout)
            return replace(answer, through_engine=True)
    reason = "its container has no curl, wget or python to send requests"
    return Answer("", None, {}, 0.0, reason, was_sent=False)


def _answer(
    url: str, code: int, stdout: str, stderr: str, seconds: float, timeout: float
) -> Answer:
    """Parse a program's output: wget prints the headers to stderr, the others before the body."""
    head, body = stderr, stdout
    if not _STATUS.search(stderr):
        head, _, body = stdout.partition("\r\n\r\n")
    status = _STATUS.search(head)
    if status and (code in _COMPLETE or _BUSYBOX_ERROR in stderr):
        return Answer(url, int(status[1]), _json(body), seconds)
    # wget indents the headers.
    lines = [line for line in stderr.splitlines() if line.strip() == line] or [f"exit code {code}"]
    if code in _TIMED_OUT:
        return Answer(url, None, {}, seconds, f"no answer within {timeout:g} s")
    for pattern, problem in _PROBLEMS:
        if re.search(pattern, "\n".join(lines), re.IGNORECASE):
            return Answer(url, None, {}, seconds, problem.format(timeout=timeout))
    return Answer(url, None, {}, seconds, f"the request failed: {lines[-1][:200]}", was_sent=False)


_STATUS = re.compile(r"^\s*HTTP/\d\S* ([2-5]\d\d)\b", re.MULTILINE)
_COMPLETE = (0, 8)  # exit codes after a response; GNU wget ends with 8 if it is not 2xx
_BUSYBOX_ERROR = "server returned error"
_PROBLEMS = (
    ("refused|could ?n[o']t connect", "connection refused"),
    (r"timed?[ -]?out", "no answer within {timeout:g} s"),
    (
        "reset|empty reply|closed|no data received|error getting response",
        "the connection was closed without an answer",
    ),
)


def _json(text: str) -> dict[str, Any]:
    try:
        body = json.loads(text)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _text(output: bytes | None) -> str:
    return (output or b"").decode("utf-8", "replace")


def port(inspected: Mapping[str, Any]) -> int:
    """Return the port that the process of a container (or of an image) listens on.

    With published ports: `PORT` if it is among them, else the first. Without: `PORT`, else the first
    exposed port, else 80.
    """
    published = [
        int(name.partition("/")[0])
        for name, bindings in ((inspected.get("NetworkSettings") or {}).get("Ports") or {}).items()
        if bindings
    ]
    for setting in inspected["Config"].get("Env") or ():
        name, _, value = setting.partition("=")
        if name == "PORT" and value.isdigit() and int(value) in (published or [int(value)]):
            return int(value)
    if published:
        return published[0]
    exposed = sorted(inspected["Config"].get("ExposedPorts") or {"80/tcp": {}})
    return int(exposed[0].partition("/")[0])
