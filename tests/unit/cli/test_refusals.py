"""Errors of the verbs for invalid arguments and files, without a running stack."""

import sys

import pytest

from harness.servers import clean_environment, free_port
from harness.stacks import Stack, copy_checkout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    environment = clean_environment(DOCKER_HOST="unix:///nowhere/docker.sock")
    return Stack(copy_checkout(tmp_path_factory.mktemp("checkout")), "", environment)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("logs ,", 2, "no service name in ','"),
        ("health --url=", 2, "invalid value '' for --url"),
        ("scale backend=3 --runtime local", 2, "the local runtime cannot scale services"),
        ("scale nosuch=3 --runtime local", 4, "available: postgres, redis, backend"),
    ],
)
def test_verb_rejects_invalid_arguments_in_two_lines(checkout, arguments, code, message):
    result = checkout.inv(*arguments.split())
    assert result.returncode == code, result
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("helth", "unknown command 'helth'\n  did you mean health?\n"),
        ("--help helth", "unknown command 'helth'\n  did you mean health?\n"),
        ("xyz", "unknown command 'xyz'\n  see: inv --list\n"),
        ("--xyz", "unknown flag --xyz\n  see: inv --help\n"),
        ("health --jsn", "unknown flag --jsn of inv health\n  did you mean --json?\n"),
        ("restart --no-log", "unknown flag --no-log of inv restart\n  did you mean --no-logs?\n"),
        (
            "down --no-volume",
            "unknown flag --no-volume of inv down\n  see: inv --help down\n",
        ),
        ("logs worker beat", "unknown command 'beat'\n  separate several services with commas\n"),
        ("restart worker beat", "unknown command 'beat'\n  see: inv --help restart\n"),
        ("status it's", "unknown command 'it's'\n  see: inv --list\n"),
        ("test -k", "-k needs a value\n  see: inv --help test\n"),
        ("--help x\x1b[31m", "unknown command 'x'\n  see: inv --list\n"),
        ("health --xyz", "unknown flag --xyz of inv health\n  see: inv --help health\n"),
        ("logs worker --tail", "--tail needs a value\n  see: inv --help logs\n"),
        ("restore", "restore needs an argument: 'file'\n  see: inv --help restore\n"),
    ],
)
def test_invalid_command_line_is_rejected_with_a_hint(checkout, arguments, message):
    result = checkout.inv(*arguments.split())
    assert (result.returncode, result.stdout, result.stderr) == (1, "", message)


def test_health_has_no_runtime_when_an_address_is_given(checkout):
    address = f"http://127.0.0.1:{free_port()}"
    result = checkout.inv("health", "--url", address)
    assert result.returncode == 4
    assert result.stdout.endswith(f"\n  {address}/ready\n")
    assert checkout.json("health", "--url", address)["runtime"] is None


@pytest.mark.skipif(sys.platform == "win32", reason="no local runtime on Windows")
def test_invalid_env_file_only_stops_verbs_that_use_it(checkout):
    file = checkout.root / ".env"
    file.write_bytes(b"PORT=8000\n\xff\n")
    try:
        for verb, code in (("down", 0), ("health", 4), ("status", 4), ("logs", 4)):
            result = checkout.inv(verb, "--runtime", "local")
            assert result.returncode == code, result
            [notice] = [line for line in result.stderr.splitlines() if ".env" in line]
            assert notice.startswith("notice: .env line 2 is not UTF-8 text")
        for verb in ("up", "restart-backend"):
            result = checkout.inv(verb, "--runtime", "local")
            assert (result.returncode, len(result.stderr.splitlines())) == (2, 2)
            assert result.stderr.startswith(".env line 2 is not UTF-8 text")
        assert checkout.inv("health", "--runtime", "compose").returncode == 2
    finally:
        file.unlink()
