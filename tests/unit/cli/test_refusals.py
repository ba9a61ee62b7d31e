"""What the verbs answer to words that mean nothing, where nothing is up."""

import sys

import pytest

from harness.servers import clean_environment, free_port
from harness.stacks import Stack, copy_checkout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    environment = clean_environment(DOCKER_HOST="unix:///nowhere/docker.sock")
    return Stack(copy_checkout(tmp_path_factory.mktemp("checkout")), "", environment)


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ("logs ,", 2, "',' names no service"),
        ("health --url=", 2, "invalid value '' for --url"),
        ("scale backend=3 --runtime local", 2, "local cannot scale a service"),
        ("scale nosuch=3 --runtime local", 4, "there are: postgres, redis, backend"),
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


@pytest.mark.skipif(sys.platform == "win32", reason="there is no local runtime")
def test_a_broken_env_file_stands_only_in_the_way_of_what_reads_it(checkout):
    file = checkout.root / ".env"
    file.write_bytes(b"PORT=8000\n\xff\n")
    try:
        for words, code in (("down", 0), ("health", 4), ("status", 4), ("logs", 4)):
            done = checkout.inv(words, "--runtime", "local")
            assert done.returncode == code, done
            [notice] = [line for line in done.stderr.splitlines() if ".env" in line]
            assert notice.startswith("notice: .env line 2 is not UTF-8 text")
        for words in ("up", "restart-backend"):
            done = checkout.inv(words, "--runtime", "local")
            assert (done.returncode, len(done.stderr.splitlines())) == (2, 2)
            assert done.stderr.startswith(".env line 2 is not UTF-8 text")
        assert checkout.inv("health", "--runtime", "compose").returncode == 2
    finally:
        file.unlink()
