"""The order of a boot, and the wait for Postgres."""

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


def test_the_markers_of_a_boot_to_the_letter(boot: Boot, shell: str) -> None:
    boot.use_shell(shell).start().until_it_serves()
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
    began = [float(boot.state[f"{name}_began"].rstrip(".%N")) for name in PHASES]
    assert began == sorted(began)
    assert abs(time.time() - began[-1]) < 60


def test_without_answers_it_counts_seconds_and_goes_on(lone_boot: Boot, shell: str) -> None:
    lone_boot.use_shell(shell).start(DB_WAIT_TIMEOUT="2").until_it_serves()
    assert lone_boot.state["database_attempts"] == lone_boot.state["database_limit"] == "2"
    assert lone_boot.state["database_outcome"] == "timed out"
    assert lone_boot.markers[8:13] == [
        "Waiting for Postgres at 127.0.0.1:1...",
        "Attempt 1/2... (waiting)",
        "Attempt 2/2... (waiting)",
        "⚠️  Postgres did not answer within 2s. Continuing anyway.",
        "Running database migrations...",
    ]


def test_it_waits_sixty_seconds_by_default(lone_boot: Boot) -> None:
    del lone_boot.environ["DB_WAIT_TIMEOUT"]
    lone_boot.start().until("Attempt 1/60... (waiting)")


def test_it_goes_on_soon_after_postgres_answers(boot: Boot, own_postgres: servers.Postgres) -> None:
    own_postgres.stop()
    boot.start(DB_PORT=str(own_postgres.port), POSTGRES_DB="postgres").until("Attempt 1/60")
    own_postgres.start()
    began = time.monotonic()
    boot.until("✓ DB connectivity check complete.")
    assert time.monotonic() - began < 2  # 0.15 s on a quiet machine


def test_a_postgres_that_thaws_is_seen(boot: Boot, own_postgres: servers.Postgres) -> None:
    own_postgres.freeze()
    try:
        boot.start(DB_PORT=str(own_postgres.port), POSTGRES_DB="postgres").until("Attempt 1/60")
    finally:
        own_postgres.thaw()
    boot.until("✓ DB connectivity check complete.", seconds=5)


def test_a_wrong_password_is_told_once(boot: Boot) -> None:
    boot.start(POSTGRES_PASSWORD="another", DB_WAIT_TIMEOUT="2").until("⚠️  Postgres did not")
    reasons = [marker for marker in boot.markers if "not used" in marker]
    assert len(reasons) == 1
    assert 'password authentication failed for user "scout"' in reasons[0]
    assert "another" not in boot.out + boot.err


def test_a_database_that_is_made_later_is_seen(boot: Boot, own_postgres: servers.Postgres) -> None:
    boot.start(DB_PORT=str(own_postgres.port), POSTGRES_DB="later")
    boot.until("Postgres can be reached, but not used: ").until("Attempt 1/60")
    with contextlib.closing(own_postgres.connect()) as connection:
        connection.cursor().execute("CREATE DATABASE later")
    boot.until("✓ DB connectivity check complete.", seconds=5)


def test_a_host_that_is_not_known_is_told(boot: Boot) -> None:
    boot.start(DB_HOST="no-such-host.invalid").until("DB_HOST no-such-host.invalid is not found: ")


def test_the_url_wins_and_supplies_host_and_port(boot: Boot) -> None:
    password = "p%40ss%2Fw%3Ard%25%23%3F%20%C3%A9"
    port, name = boot.environ["DB_PORT"], boot.environ["POSTGRES_DB"]
    url = f"postgresql+psycopg2://scout:{password}@127.0.0.1:{port}/{name}"
    boot.start(DATABASE_URL=url, DB_HOST="elsewhere", DB_PORT="1").until_it_serves()
    assert f"Waiting for Postgres at 127.0.0.1:{port}..." in boot.markers
    assert "✓ DB connectivity check complete." in boot.markers
    assert "postgresql" not in boot.out + boot.err


def test_a_secret_in_a_command_is_not_shown(boot: Boot) -> None:
    boot.start(ALEMBIC_CMD="true\t-x hunter2", UVICORN_CMD="uvicorn x:x --fd 3 --key hunter2")
    boot.until_it_serves()
    assert "ALEMBIC_CMD=true ..." in boot.markers
    assert "UVICORN_CMD=uvicorn ..." in boot.markers
    assert not any("hunter2" in marker for marker in boot.markers)


def test_nc_looks_first(boot: Boot) -> None:
    boot.stub("nc", 'echo "$@" >> $FOLDER/nc-arguments')
    boot.start().until_it_serves()
    assert (
        boot.folder / "nc-arguments"
    ).read_text() == f"-z -w 1 127.0.0.1 {boot.environ['DB_PORT']}\n"
    assert "✓ DB connectivity check complete." in boot.markers


def test_what_nc_sees_is_not_enough(lone_boot: Boot) -> None:
    lone_boot.stub("nc", "exit 0")
    lone_boot.start().until("⚠️  Postgres did not answer within 1s.")
    assert any("Connection refused" in marker for marker in lone_boot.markers)


def test_an_nc_of_another_kind_does_no_harm(boot: Boot) -> None:
    boot.stub("nc", "echo 'nc: unknown option -- z' >&2; exit 1")
    boot.start().until("✓ DB connectivity check complete.")


def test_no_nc_does_no_harm(boot: Boot) -> None:
    for name in ("sh", "sleep", "mv", "date"):
        (boot.bin / name).symlink_to(shutil.which(name))
    boot.stub("python", f'exec {sys.executable} "$@"')
    boot.start(PATH=str(boot.bin)).until_it_serves()
    assert "✓ DB connectivity check complete." in boot.markers


def test_an_nc_that_hangs_does_not_stop_the_count(lone_boot: Boot) -> None:
    lone_boot.stub("nc", "exec sleep 30")
    began = time.monotonic()
    lone_boot.start(DB_WAIT_TIMEOUT="2").until("⚠️  Postgres did not answer within 2s.")
    assert time.monotonic() - began < 4
    assert "Attempt 2/2... (waiting)" in lone_boot.markers


def test_what_waits_ends_with_a_killed_entrypoint(lone_boot: Boot) -> None:
    lone_boot.start(DB_WAIT_TIMEOUT="60").until("Attempt 1/60")
    lone_boot.process.kill()
    servers.wait_until("all have ended", lambda: not lone_boot.family(), 5)


def test_a_run_dir_that_cannot_be_written_is_told_once(boot: Boot) -> None:
    boot.start(RUN_DIR="/nowhere").listens()
    boot.until_it_serves()
    warnings = [marker for marker in boot.markers if "RUN_DIR" in marker]
    assert warnings == [
        "WARNING: RUN_DIR /nowhere: No such file or directory. Probes cannot tell how far the boot is."
    ]
    assert boot.err == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
def test_an_unknown_user_without_a_home_in_a_read_only_folder(boot: Boot) -> None:
    """F21, as far as it can be had without a container."""
    somebody = ("unshare", "--user", "--map-user=12345", "--map-group=12345")
    boot.folder.chmod(0o555)
    try:
        del boot.environ["HOME"]
        boot.start(*somebody).until_it_serves()
    finally:
        boot.folder.chmod(0o755)
    assert any("RUN_DIR" in marker and "denied" in marker for marker in boot.markers)
    assert "✓ Migrations applied successfully." in boot.markers


def test_variables_of_an_earlier_boot_do_no_harm(boot: Boot) -> None:
    (boot.folder / "boot").write_text("phase=serving\nmigrations=failed\n")
    boot.start(ENTRYPOINT_PID="1", RESPONDER_PID="1", DB_WAIT_TIMEOUT="60", DB_PORT="1")
    boot.until("Attempt 1/60")
    assert boot.health()["phase"] == "waiting"
    assert boot.health()["migrations"] == "unknown"


def test_the_script_has_no_windows_line_ends() -> None:
    assert b"\r" not in SCRIPT.read_bytes()
