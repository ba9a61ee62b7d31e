"""F16: an invalid setting is reported at once, in one line."""

from __future__ import annotations

import socket
import time

import pytest

from tests.integration.boot.boots import Boot


def refusal(boot: Boot, **variables: str) -> str:
    """Start a boot, which must refuse at once, and return its only line."""
    started_at = time.monotonic()
    assert boot.start(**variables).process.wait(10) == 2
    assert time.monotonic() - started_at < 2
    assert boot.out == ""
    (line,) = boot.err.splitlines()
    assert line.startswith("[entrypoint] ")
    return line.removeprefix("[entrypoint] ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("PORT", value) for value in ("abc", "70000", "0", "-1", "8000;ls")),
        *(("DB_WAIT_TIMEOUT", value) for value in ("abc", "0", "-1", "1.5")),
        *(("MIGRATE_TIMEOUT", value) for value in ("abc", "-1", "1h")),
        *(("MIGRATE_DELAYS", value) for value in ("2,4,8", "2 -4", "*", " ", "1e3")),
        *(("WEB_CONCURRENCY", value) for value in ("two", "0", "-1", "1.5", " ")),
        *(("HOST", value) for value in ("no such host", "192.0.2.1", "a..b")),
        *(("DB_PORT", value) for value in ("abc", "99999")),
        ("ALEMBIC_CMD", 'alembic "upgrade head'),
        ("UVICORN_CMD", "uvicorn 'app"),
        ("UVICORN_CMD", " "),
        ("DATABASE_URL", "postgresql://scout:hunter2@host:port/name"),
        ("DATABASE_URL", "mysql://scout:hunter2@host/name"),
        ("REDIS_URL", "redis://:hunter2@host:6379/x"),
    ],
)
def test_f16_invalid_value_is_refused(lone_boot: Boot, name: str, value: str) -> None:
    line = refusal(lone_boot, **{name: value})
    assert name in line
    assert "hunter2" not in line


def test_f16_port_in_use_is_refused(lone_boot: Boot) -> None:
    with socket.create_server(("127.0.0.1", lone_boot.port)):
        line = refusal(lone_boot)
    assert line.startswith(f"PORT {lone_boot.port} is in use: ")


def test_boot_that_is_refused_keeps_the_state_of_the_running_one(lone_boot: Boot) -> None:
    # A second backend is started by mistake.
    (lone_boot.folder / "boot").write_text("phase=serving\n")
    with socket.create_server(("127.0.0.1", lone_boot.port)):
        refusal(lone_boot)
    assert lone_boot.state == {"phase": "serving"}


def test_boot_listens_on_an_ipv6_address(lone_boot: Boot) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    lone_boot.start(HOST="::1").until("Waiting for Postgres")
    socket.create_connection(("::1", lone_boot.port), 2).close()


def test_boot_reports_an_unknown_application_in_one_line(boot: Boot) -> None:
    assert boot.start(UVICORN_CMD="no-such-program --fd 3").process.wait(20) == 127
    assert boot.err == "[entrypoint] UVICORN_CMD: no-such-program: No such file or directory\n"
