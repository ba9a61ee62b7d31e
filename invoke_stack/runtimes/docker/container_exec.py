"""Running a command inside a container, and asking over HTTP from there."""

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

START_LIMIT = 5.0  # seconds that the engine may take to run a probe, beyond the probe's own limit
_NO_SUCH_PROGRAM = (126, 127)
_ENDED_BY_LIMIT = (124, 137, 142, 143)  # by `timeout`, SIGKILL, SIGALRM, SIGTERM
_MOST = 1 << 20  # bytes of an answer

_PYTHON = f"""
import http.client, signal, sys
signal.alarm(int(sys.argv[2]))
host, _, path = sys.argv[1].partition("://")[2].partition("/")
connection = http.client.HTTPConnection(host)
connection.request("GET", "/" + path)
answer = connection.getresponse()
body = answer.read({_MOST})
sys.stdout.buffer.write(b"HTTP/1.1 %d\\r\\n\\r\\n" % answer.status + body)
"""

# Asks with the first program there is. Each ends by itself in time, for it outlives a client that goes
# away; none uses a proxy, and what a redirect leads to does not count. The last one shows no body
# of an error, and its own limit (-T) crashes Debian's build.
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
    client: APIClient, identity: str, words: Sequence[str], seconds: float
) -> tuple[int, str, str]:
    """Return its exit code, stdout and stderr.

    Raises `OutOfReach` when the container does not run, and after `seconds`; the command goes on
    then.
    """

    def call() -> tuple[int, bytes | None, bytes | None]:
        with engine.errors():
            made = client.exec_create(identity, list(words))
            output, complaint = client.exec_start(made["Id"], demux=True)
            return client.exec_inspect(made["Id"])["ExitCode"] or 0, output, complaint

    try:
        # The SDK reads what an exec prints without any limit.
        code, output, complaint = within(seconds, call)
    except TimeoutError:
        raise OutOfReach(
            f"`{words[0]}` in container {identity[:12]} took more than {seconds:.0f} s",
            "see whether the engine is overloaded: docker info",
        ) from None
    return code, _text(output), _text(complaint)


def within(seconds: float, call: Callable[[], T]) -> T:
    """Return the result of a call; raise `TimeoutError` if there is none in time.

    The call runs on a daemon thread, so that one that hangs does not keep the verb from ending.
    """
    result: Future[T] = Future()

    def work() -> None:
        try:
            result.set_result(call())
        except Exception as error:
            result.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return result.result(seconds)


def execute(client: APIClient, identity: str, words: Sequence[str], seconds: float) -> str:
    """What it printed. Raises `CommandFailed` with the last line of its complaint."""
    code, said, wrong = run(client, identity, words, seconds)
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
    """GET a URL within `timeout` seconds, with the curl, wget or Python that the container has.

    The answer has `asked` false where it has none of them, or they fail in a way that says nothing
    about the service. Raises `OutOfReach` when the container does not run, or the engine does not
    run the program in time.
    """
    start = time.perf_counter()
    arguments = (quote(url, safe="%/?:@!$&'()*+,;=~[]"), str(math.ceil(timeout)))
    for words in (
        ("sh", "-c", _SHELL, "sh", *arguments, _PYTHON),
        ("python3", "-c", _PYTHON, *arguments),  # an image without a shell
        ("python", "-c", _PYTHON, *arguments),
    ):
        left = start + timeout + START_LIMIT - time.perf_counter()
        code, output, complaint = run(client, identity, words, max(1.0, left))
        if code not in _NO_SUCH_PROGRAM:
            seconds = time.perf_counter() - start
            answer = _answer(url, code, output, complaint, seconds, timeout)
            return replace(answer, through_engine=True)
    reason = "its container has no wget, curl or python to ask with"
    return Answer("", None, {}, 0.0, reason, was_sent=False)


def _answer(
    url: str, code: int, output: str, complaint: str, seconds: float, timeout: float
) -> Answer:
    """Read what a program printed: wget shows the head on stderr, the others before the body."""
    head, body = complaint, output
    if not _STATUS.search(complaint):
        head, _, body = output.partition("\r\n\r\n")
    status = _STATUS.search(head)
    if status and (code in _COMPLETE or _BUSYBOX_ERROR in complaint):
        return Answer(url, int(status[1]), _json(body), seconds)
    # Indented lines are those of the head.
    lines = [line for line in complaint.splitlines() if line.strip() == line] or [
        f"exit code {code}"
    ]
    if code in _ENDED_BY_LIMIT:
        return Answer(url, None, {}, seconds, f"no answer within {timeout:g} s")
    for sign, problem in _PROBLEMS:
        if re.search(sign, "\n".join(lines), re.IGNORECASE):
            return Answer(url, None, {}, seconds, problem.format(timeout=timeout))
    return Answer(url, None, {}, seconds, f"asking it failed: {lines[-1][:200]}", was_sent=False)


_STATUS = re.compile(r"^\s*HTTP/\d\S* ([2-5]\d\d)\b", re.MULTILINE)
_COMPLETE = (0, 8)  # the exit codes of an answer; 8 is GNU wget's for one that is not 2xx
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
    """Return the port that a container's (or an image's) process listens on.

    Its PORT if that is published, else the first published one; without any, its PORT or the first
    one that it exposes.
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
