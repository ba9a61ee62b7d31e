"""`.env` files are parsed as Compose parses them."""

import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import dockerized
from invoke_stack import config
from invoke_stack.errors import BadInput

ENVIRONMENT = {"OUTSIDE": "out"}
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
    # literal dollar signs
    *("X=a$", "X=a$$b", 'X="a$$b"', "X='a$$b'", "X=p@ss$word", "X=p@ss$1", "X=$(date)", "X=$}"),
    *("X=${Y", "X=${", "X=${}", "X=${1}", "X=${Y!a}", "X=$$$Y", "X=$é"),
    # invalid lines
    *("X='a", 'X="a', "X='a' b", "X='a''b'", "=a\nX=b", "not it\nX=b", "X", "'X'=a", "X\u3000=a"),
    *("X='a'b=2\n", "1X=b\nX=a", "X=a;b", "X=`date`", "X={a}", "X=\\", "#", "", "X+=a"),
]


def parse(text, folder):
    """Return the value of X according to our parser; None if it rejects the file."""
    (folder / ".env").write_bytes(text.encode())
    try:
        return config.read_env_file(folder / ".env", ENVIRONMENT).get("X", "unset")
    except BadInput:
        return None


def parse_with_compose(text, folder):
    """Return the value of X according to Compose; None if it rejects the file."""
    (folder / ".env").write_bytes(text.encode())
    (folder / "compose.yaml").write_text(YAML)
    command = ["compose", "--project-name", "x", "config", "--format", "json"]
    environment = {
        name: os.environ[name] for name in ("PATH", "DOCKER_CONFIG") if name in os.environ
    }
    result = dockerized.docker(*command, ok=False, cwd=folder, env=environment | ENVIRONMENT)
    if result.returncode:
        return None
    return json.loads(result.stdout)["services"]["s"]["environment"]["X"].replace("$$", "$")


@pytest.mark.engine
def test_env_file_is_parsed_as_compose_does(tmp_path):
    dockerized.require_engine()

    def difference(numbered):
        number, text = numbered
        folder = tmp_path / str(number)
        folder.mkdir()
        actual, expected = parse(text, folder), parse_with_compose(text, folder)
        return None if actual == expected else (text, actual, expected)

    with ThreadPoolExecutor(4) as pool:
        differences = list(filter(None, pool.map(difference, enumerate(FILES))))
    assert differences == []
