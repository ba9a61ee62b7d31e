"""The steps of a boot, and the wait for Postgres."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import time

import pytest

from harness import servers
from tests.integration.boot.boots import BANNER, SCRIPT, Boot

PHASES = ("database", "migrations", "application")


def test_boot_logs_exactly_these_lines(boot: Boot, shell: str) -> None:
    boot.use_shell(shell).start().wait_until_serving()
    servers.wait_until("the application runs", lambda: "\nuvicorn" in boot.out)
    host, port = boot.environ["DB_HOST"], boot.environ["DB_PORT"]
    uvicorn = "app.main:app --fd 3 --no-server-header --timeout-graceful-shutdown 5"
    assert boot.out.splitlines() == [
        f"[entrypoint] {BANNER}",
        "[entrypoint] Deal-Scout Backend Entrypoint",
        f"[entrypoint] {BANNER}",
        f"[entrypoint] DB_HOST={host}",
        f"[entrypoint] DB_PORT={port}",
        f"[entrypoint] PORT={boot.port}",
        "[entrypoint] ALEMBIC_CMD=alembic upgrade head",
        f"[entrypoint] UVICORN_CMD=uvicorn {uvicorn}",
        f"[entrypoint] Waiting for Postgres at {host}:{port}...",
        "[entrypoint] ✓ DB connectivity check complete.",
        "[entrypoint] Running database migrations...",
        "[entrypoint] Alembic attempt 1/6 (delay: 2s)...",
        "alembic upgrade head",
        "[entrypoint] ✓ Migrations applied successfully.",
        "[entrypoint] Starting Uvicorn application...",
        f"[entrypoint] {BANNER}",
        f"uvicorn {uvicorn}",
    ]
    assert boot.err == ""
    assert boot.state["phase"] == "serving"
    assert boot.state["migrations"] == "applied"
    assert re.fullmatch(r"\d+\.(\d+|%N)", boot.state["application_began"])
    starts = [float(boot.state[f"{name}_began"].rstrip(".%N")) for name in PHASES]
    assert starts == sorted(starts)
    assert abs(time.time() - starts[-1]) < 60


def test_wait_counts_seconds_and_continues_without_postgres(lone_boot: Boot, shell: str) -> None:
    lone_boot.use_shell(shell).start(DB_WAIT_TIMEOUT="2").wait_until_serving()
    assert lone_boot.state["database_attempts"] == lone_boot.state["database_limit"] == "2"
    assert lone_boot.state["database_outcome"] == "timed out"
    assert lone_boot.markers[8:13] == [
        "Waiting for Postgres at 127.0.0.1:1...",
        "Attempt 1/2... (waiting)",
        "Attempt 2/2... (waiting)",
        "⚠️  Postgres did not answer within 2s. Continuing anyway.",
        "Running database migrations...",
    ]


def test_wait_lasts_sixty_seconds_by_default(lone_boot: Boot) -> None:
    del lone_boot.environ["DB_WAIT_TIMEOUT"]
    lone_boot.start().until("Attempt 1/60... (waiting)")


def test_wait_ends_soon_after_postgres_starts(boot: Boot, own_postgres: servers.Postgres) -> None:
    own_postgres.stop()
    boot.start(DB_PORT=str(own_postgres.port), POSTGRES_DB="postgres").until("Attempt 1/60")
    own_postgres.start()
    started_at = time.monotonic()
    boot.until("✓ DB connectivity check complete.")
    assert time.monotonic() - started_at < 2  # 0.15 s on an idle machine


def test_wait_ends_when_postgres_thaws(boot: Boot, own_postgres: servers.Postgres) -> None:
    own_postgres.freeze()
    try:
        boot.start(DB_PORT=str(own_postgres.port), POSTGRES_DB="postgres").until("Attempt 1/60")
    finally:
        own_postgres.thaw()
    boot.until("✓ DB connectivity check complete.", seconds=5)


def test_wait_logs_a_wrong_password_once(boot: Boot) -> None:
    boot.start(POSTGRES_PASSWORD="another", DB_WAIT_TIMEOUT="2").until("⚠️  Postgres did not")
    reasons = [marker for marker in boot.markers if "not used" in marker]
    assert len(reasons) == 1
    assert 'password authentication failed for user "scout"' in reasons[0]
    assert "another" not in boot.out + boot.err


def test_wait_ends_when_the_database_is_created(boot: Boot, own_postgres: servers.Postgres) -> None:
    boot.start(DB_PORT=str(own_postgres.port), POSTGRES_DB="later")
    boot.until("Postgres can be reached, but not used: ").until("Attempt 1/60")
    with contextlib.closing(own_postgres.connect()) as connection:
        connection.cursor().execute("CREATE DATABASE later")
    boot.until("✓ DB connectivity check complete.", seconds=5)


def test_wait_logs_an_unknown_host(boot: Boot) -> None:
    boot.start(DB_HOST="no-such-host.invalid").until("DB_HOST no-such-host.invalid is not found: ")


def test_database_url_overrides_host_and_port(boot: Boot) -> None:
    password = "p%40ss%2Fw%3Ard%25%23%3F%20%C3%A9"
    port, name = boot.environ["DB_PORT"], boot.environ["POSTGRES_DB"]
    url = f"postgresql+psycopg2://scout:{password}@127.0.0.1:{port}/{name}"
    boot.start(DATABASE_URL=url, DB_HOST="elsewhere", DB_PORT="1").wait_until_serving()
    assert f"Waiting for Postgres at 127.0.0.1:{port}..." in boot.markers
    assert "✓ DB connectivity check complete." in boot.markers
    assert "postgresql" not in boot.out + boot.err


def test_boot_does_not_log_the_arguments_of_a_custom_command(boot: Boot) -> None:
    boot.start(ALEMBIC_CMD="true\t-x hunter2", UVICORN_CMD="uvicorn x:x --fd 3 --key hunter2")
    boot.wait_until_serving()
    assert "ALEMBIC_CMD=true ..." in boot.markers
    assert "UVICORN_CMD=uvicorn ..." in boot.markers
    assert not any("hunter2" in marker for marker in boot.markers)


def test_wait_runs_nc_first(boot: Boot) -> None:
    boot.stub("nc", 'echo "$@" >> $FOLDER/nc-arguments')
    boot.start().wait_until_serving()
    assert (
        boot.folder / "nc-arguments"
    ).read_text() == f"-z -w 1 127.0.0.1 {boot.environ['DB_PORT']}\n"
    assert "✓ DB connectivity check complete." in boot.markers


def test_wait_continues_when_only_nc_succeeds(lone_boot: Boot) -> None:
    lone_boot.stub("nc", "exit 0")
    lone_boot.start().until("⚠️  Postgres did not answer within 1s.")
    assert any("Connection refused" in marker for marker in lone_boot.markers)


def test_wait_works_with_an_nc_without_the_option(boot: Boot) -> None:
    boot.stub("nc", "echo 'nc: unknown option -- z' >&2; exit 1")
    boot.start().until("✓ DB connectivity check complete.")


def test_wait_works_without_nc(boot: Boot) -> None:
    for name in ("sh", "sleep", "mv", "date"):
        (boot.bin / name).symlink_to(shutil.which(name))
    boot.stub("python", f'exec {sys.executable} "$@"')
    boot.start(PATH=str(boot.bin)).wait_until_serving()
    assert "✓ DB connectivity check complete." in boot.markers


def test_wait_counts_on_time_when_nc_hangs(lone_boot: Boot) -> None:
    lone_boot.stub("nc", "exec sleep 30")
    started_at = time.monotonic()
    lone_boot.start(DB_WAIT_TIMEOUT="2").until("⚠️  Postgres did not answer within 2s.")
    assert time.monotonic() - started_at < 4
    assert "Attempt 2/2... (waiting)" in lone_boot.markers


def test_wait_exits_when_the_entrypoint_is_killed(lone_boot: Boot) -> None:
    lone_boot.start(DB_WAIT_TIMEOUT="60").until("Attempt 1/60")
    lone_boot.process.kill()
    servers.wait_until("all have exited", lambda: not lone_boot.family(), 5)


def test_boot_warns_once_when_run_dir_is_not_writable(boot: Boot) -> None:
    boot.start(RUN_DIR="/nowhere").wait_until_listening()
    boot.wait_until_serving()
    warnings = [marker for marker in boot.markers if "RUN_DIR" in marker]
    assert warnings == [
        "WARNING: RUN_DIR /nowhere: No such file or directory. Probes cannot report boot progress."
    ]
    assert boot.err == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_boot_works_as_an_unknown_user_in_a_read_only_folder(boot: Boot) -> None:
    """F21, as far as that is possible without a container."""
    unshare = ("unshare", "--user", "--map-user=12345", "--map-group=12345")
    boot.folder.chmod(0o555)
    try:
        del boot.environ["HOME"]
        boot.start(*unshare).wait_until_serving()
    finally:
        boot.folder.chmod(0o755)
    assert any("RUN_DIR" in marker and "denied" in marker for marker in boot.markers)
    assert "✓ Migrations applied successfully." in boot.markers


def test_boot_ignores_the_state_of_an_earlier_boot(boot: Boot) -> None:
    (boot.folder / "boot").write_text("phase=serving\nmigrations=failed\n")
    boot.start(ENTRYPOINT_PID="1", RESPONDER_PID="1", DB_WAIT_TIMEOUT="60", DB_PORT="1")
    boot.until("Attempt 1/60")
    assert boot.health()["phase"] == "waiting"
    assert boot.health()["migrations"] == "unknown"


def test_entrypoint_has_no_windows_line_endings() -> None:
    assert b"\r" not in SCRIPT.read_bytes()
