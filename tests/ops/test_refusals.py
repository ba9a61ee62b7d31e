"""What the verbs answer to words that mean nothing, where nothing is up."""

import sys

import pytest

from tests.servers import clean_environment, free_port
from tests.stacks import Stack, copy_checkout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    environment = clean_environment(DOCKER_HOST="unix:///nowhere/docker.sock")
    return Stack(copy_checkout(tmp_path_factory.mktemp("checkout")), "", environment)


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ("logs ,", 2, "',' names no service"),
        ("health --url=", 2, "--url is ''"),
        pytest.param(
            *("scale backend=3 --runtime local", 2, "local has one of each service"),
            marks=pytest.mark.skipif(sys.platform == "win32", reason="there is no local runtime"),
        ),
        pytest.param(
            *("scale nosuch=3 --runtime local", 4, "there are: postgres, redis, backend"),
            marks=pytest.mark.skipif(sys.platform == "win32", reason="there is no local runtime"),
        ),
    ],
)
def test_it_is_refused_with_what_works(checkout, words, code, told):
    done = checkout.inv(*words.split())
    assert done.returncode == code, done
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 2


def test_an_address_belongs_to_no_runtime(checkout):
    address = f"http://127.0.0.1:{free_port()}"
    done = checkout.inv("health", "--url", address)
    assert done.returncode == 4
    assert done.stdout.endswith(f"\n  {address}/ready\n")
    assert checkout.json("health", "--url", address)["runtime"] is None
