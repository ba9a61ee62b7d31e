"""`.env` means to us what it means to Compose itself."""

import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import dockerized
from invoke_stack import config
from invoke_stack.errors import BadInput

OUTSIDE = {"OUTSIDE": "out"}  # a variable of the environment
YAML = 'services: {s: {image: x, environment: {X: "${X-unset}"}}}\n'

FILES = [
    # quotes, blanks and comments
    *("X=a b ", "X = a", "X='a b'", 'X="a b"', "X=", "X=''", "X=a=b", "X=a'b", "X='a' # c\n"),
    *("X=a # c", "X=a#c", "X= # c", "X=a\t# c", "X='a # c'", "# c\n\n  X=a", "X=a\tb", "X=1\nX=2"),
    *("export X=a", "export  X=a", "exportX=b\nX=a", "X: a", "X:a", "X.Y=b\nX=a", "X-Y=b\nX=a"),
    *("X=a\r\nY=b\r\n", "X='a\r\nb'", "\ufeffX=a", "X='a\nb'", 'X="a\nb"', "X=\nY=b", "X=\u3000a"),
    # escapes
    *(r'X="a\nb"', r"X='a\nb'", r"X=a\nb", r'X="a\"b"', r"X='a\'b'", r'X="a\\b"', r"X='a\\'"),
    *(r'X="a\tb"', r'X="a\xb"', r'X="a\$b"', r"X=a\$b", r"X='a\$b'", r'X="a\\$b"', r"X=a\\b"),
    # other variables
    *("Y=y\nX=${Y}", "Y=y\nX=$Y-", "Y=y\nX='${Y}'", 'Y=y\nX="${Y}"', "X=${NO}", "X=$NO", "X=$X"),
    *("X=${NO:-d}", "X=${NO-d}", "Y=\nX=${Y:-d}", "Y=\nX=${Y-d}", "Y=y\nX=${Y:+a}", "X=${NO:+a}"),
    *("Y=y\nX=${Y:?no}", "X=${NO:?no}", "Y=\nX=${Y?no}", "Y=\nX=${Y:?no}", "X=${OUTSIDE}", "X\n"),
    *("OUTSIDE=in\nX=$OUTSIDE", "OUTSIDE\nX=$OUTSIDE", "Y='a$b'\nX=${Y}", "X=${NO:-${N2:-deep}}"),
    *("X=${NO:-a}b}", "X=${NO:-a b # c}", "X=${NO:-a-b}", "X=${OUTSIDE:-${NO:?no}}", "X=${NO:-$Y}"),
    # dollars by themselves
    *("X=a$", "X=a$$b", 'X="a$$b"', "X='a$$b'", "X=p@ss$word", "X=p@ss$1", "X=$(date)", "X=$}"),
    *("X=${Y", "X=${", "X=${}", "X=${1}", "X=${Y!a}", "X=$$$Y", "X=$é"),
    # what is no assignment
    *("X='a", 'X="a', "X='a' b", "X='a''b'", "=a\nX=b", "not it\nX=b", "X", "'X'=a", "X\u3000=a"),
    *("X='a'b=2\n", "1X=b\nX=a", "X=a;b", "X=`date`", "X={a}", "X=\\", "#", "", "X+=a"),
]


def ours(text, folder):
    (folder / ".env").write_bytes(text.encode())
    try:
        return config.read_env_file(folder / ".env", OUTSIDE).get("X", "unset")
    except BadInput:
        return None


def theirs(text, folder):
    (folder / ".env").write_bytes(text.encode())
    (folder / "compose.yaml").write_text(YAML)
    words = ["compose", "--project-name", "x", "config", "--format", "json"]
    environment = {
        name: os.environ[name] for name in ("PATH", "DOCKER_CONFIG") if name in os.environ
    }
    done = dockerized.docker(*words, ok=False, cwd=folder, env=environment | OUTSIDE)
    if done.returncode:
        return None
    return json.loads(done.stdout)["services"]["s"]["environment"]["X"].replace("$$", "$")


@pytest.mark.engine
def test_every_tricky_file_means_the_same(tmp_path):
    dockerized.require_engine()

    def differs(numbered):
        number, text = numbered
        folder = tmp_path / str(number)
        folder.mkdir()
        mine, other = ours(text, folder), theirs(text, folder)
        return None if mine == other else (text, mine, other)

    with ThreadPoolExecutor(4) as pool:
        found = list(filter(None, pool.map(differs, enumerate(FILES))))
    assert found == []
