"""The migrations of a boot: attempts, delays, causes and retries in the background."""

from __future__ import annotations

import sys
import time

import pytest

from harness import servers
from tests.integration.boot.boots import Boot

TRACEBACK = """cat >&2 <<'END'
Traceback (most recent call last):
  File "versions/0002.py", line 12, in upgrade
    op.execute("CRATE TABLE x ()")
psycopg2.errors.SyntaxError: syntax error at or near "CRATE"
LINE 1: CRATE TABLE x ()

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "sqlalchemy/engine/base.py", line 1969, in _exec_single_context
    self.dialect.do_execute(
    ^^^^^^^^^^^^^^^^^^^^^^^^
sqlalchemy.exc.ProgrammingError: (psycopg2.errors.SyntaxError) syntax error at or near "CRATE"
[SQL: CRATE TABLE x ()]
(Background on this error at: https://sqlalche.me/e/20/f405)
END
exit 1"""
CAUSE = (
    'sqlalchemy.exc.ProgrammingError: (psycopg2.errors.SyntaxError) syntax error at or near "CRATE"'
)
INFO = "echo 'INFO  [alembic.runtime.migration] Context impl PostgresqlImpl.' >&2\n"


def test_application_starts_after_six_failed_migrations_in_126_seconds(
    boot: Boot, shell: str
) -> None:
    """R4: the arguments of `sleep`, including the delay after the sixth failure."""
    boot.stub("sleep", 'echo "$@" >> $FOLDER/delays')
    boot.stub("alembic", TRACEBACK)
    boot.stub("uvicorn", "exec tail -f /dev/null")
    boot.use_shell(shell).start().wait_until_serving()
    delays = [2, 4, 8, 16, 32, 64]
    assert [int(line) for line in (boot.folder / "delays").read_text().split()] == delays
    assert sum(delays) == 126
    expected = []
    for attempt, delay in enumerate(delays, 1):
        expected += [
            f"Alembic attempt {attempt}/6 (delay: {delay}s)...",
            f"Cause: {CAUSE}" if attempt == 1 else "Cause: the same as before.",
            "✗ Alembic exited with code 1.",
            f"Retrying in {delay}s..."
            if attempt < 6
            else "Starting without the migrations in 64s...",
        ]
    expected += [
        "⚠️  Migrations did not complete after 6 attempts.",
        "WARNING: Service will start but may have incomplete schema.",
        "Retrying in the background every 64s.",
        "Starting Uvicorn application...",
    ]
    assert boot.migration_markers()[: len(expected)] == expected
    assert boot.state["phase"] == "serving"
    assert boot.state["migrations"] == boot.state["migrations_outcome"] == "failed"


def test_migrations_are_applied_by_the_second_attempt(boot: Boot) -> None:
    boot.stub("alembic", "[ -e $FOLDER/tried ] || { touch $FOLDER/tried; exit 3; }")
    boot.start(MIGRATE_DELAYS="0.1 0.2").wait_until_serving()
    assert boot.migration_markers()[:-2] == [
        "Alembic attempt 1/2 (delay: 0.1s)...",
        "Cause: no output",
        "✗ Alembic exited with code 3.",
        "Retrying in 0.1s...",
        "Alembic attempt 2/2 (delay: 0.2s)...",
        "✓ Migrations applied successfully.",
    ]
    assert boot.state["migrations"] == "applied"


def test_migrations_log_a_repeated_failure_once_and_other_output_always(boot: Boot) -> None:
    """F12: the log names the cause once, clearly."""
    boot.stub("alembic", INFO + "printf '  FAILED:'; sleep 0.1; echo ' so'\n" + TRACEBACK)
    boot.start(MIGRATE_DELAYS="0.1 0.1 0.1").wait_until_serving()
    assert boot.markers.count(f"Cause: {CAUSE}") == 1
    assert boot.out.count("FAILED: so") == 1
    assert boot.err.count('CRATE TABLE x ()")') == 1
    assert boot.err.count("Context impl") >= 3


def test_migrations_log_each_new_cause(boot: Boot) -> None:
    boot.stub("alembic", f"[ -e $FOLDER/tried ] || {{ touch $FOLDER/tried; exit 3; }}\n{TRACEBACK}")
    boot.start(MIGRATE_DELAYS="0.1 0.1 0.1").wait_until_serving()
    causes = [marker for marker in boot.markers if marker.startswith("Cause: ")]
    assert causes[:3] == ["Cause: no output", f"Cause: {CAUSE}", "Cause: the same as before."]
    assert boot.err.count("Traceback") == 2  # one traceback with the exception that caused it


@pytest.mark.parametrize(
    ("output", "cause"),
    [
        (
            "echo 'ERROR [alembic.util.messaging] Multiple heads' >&2; echo '  FAILED: Mul'",
            "Multiple heads",
        ),
        ("echo 'FAILED: No such revision'", "No such revision"),
        ("echo one; echo two >&2", "two"),
        ("echo one; echo", "one"),
        ("printf 'one\\n\\377two\\n\\n' >&2", "\ufffdtwo"),
    ],
)
def test_migrations_log_the_cause(boot: Boot, output: str, cause: str) -> None:
    boot.stub("alembic", f"{output}; exit 255")
    boot.start(MIGRATE_DELAYS="30").until(f"Cause: {cause}")
    boot.until("✗ Alembic exited with code 255.")


def test_migrations_relay_output_while_running(boot: Boot) -> None:
    boot.stub("alembic", INFO + "printf 'half a line'; exec sleep 60")
    boot.start()
    servers.wait_until("stdout", lambda: boot.out.endswith("half a line"))
    assert "Context impl" in boot.err
    assert (boot.state["phase"], boot.state["migrations"]) == ("migrating", "unknown")
    health = boot.health()
    assert health["ok"] is True
    assert (health["phase"], health["attempt"], health["attempts"]) == ("migrating", 1, 6)


def test_migrations_stop_an_attempt_after_the_timeout(boot: Boot) -> None:
    boot.stub("alembic", "sleep 61 & sleep 61")
    boot.start(MIGRATE_TIMEOUT="0.3", MIGRATE_DELAYS="60").until("Starting without the migrations")
    assert boot.migration_markers()[1:3] == [
        "Cause: stopped after MIGRATE_TIMEOUT, 0.3s",
        "✗ Alembic exited with code 124.",
    ]
    assert "sleep 61" not in boot.commands()


def test_migrate_timeout_of_zero_is_no_limit(boot: Boot) -> None:
    boot.stub("alembic", "sleep 0.5")
    boot.start(MIGRATE_TIMEOUT="0").until("✓ Migrations applied successfully.")


def test_migrations_retry_a_killed_attempt(boot: Boot) -> None:
    boot.stub("alembic", "[ -e $FOLDER/tried ] || { touch $FOLDER/tried; kill -9 $$; }")
    boot.start(MIGRATE_DELAYS="0.1 0.1").until("✓ Migrations applied successfully.")
    assert "Cause: killed by signal 9" in boot.markers
    assert "✗ Alembic exited with code 137." in boot.markers


def test_alembic_does_not_inherit_the_socket(boot: Boot) -> None:
    boot.stub("alembic", "if true 2>/dev/null <&3; then echo open; else echo closed; fi")
    boot.start().wait_until_serving()
    assert "closed" in boot.out.splitlines()


def test_alembic_is_killed_with_its_parent(boot: Boot) -> None:
    if sys.platform != "linux":
        pytest.skip("only supported on Linux")
    boot.stub("alembic", "echo running; exec sleep 62")
    boot.start()
    servers.wait_until("alembic runs", lambda: "sleep 62" in boot.commands())
    parent = next(p for p in boot.family() if "app.boot.migrations" in p.cmdline())
    parent.kill()
    servers.wait_until("alembic has exited", lambda: "sleep 62" not in boot.commands(), 5)
    boot.until("✗ Alembic exited with code 137.")


def test_background_migrations_fix_a_degraded_start(boot: Boot) -> None:
    """F13, R5: without a restart."""
    boot.stub("alembic", f"[ -e $FOLDER/fixed ] || {{ {TRACEBACK}\n}}\n")
    boot.start(MIGRATE_DELAYS="0.1 0.2").until("Attempt 3 in the background failed with code 1.")
    assert boot.state["migrations"] == "failed"
    (boot.folder / "fixed").touch()
    boot.until("✓ Migrations applied successfully.").until("Background attempt ")
    servers.wait_until(
        "the retries exit", lambda: not any("app.boot.migrations" in c for c in boot.commands())
    )
    assert boot.state["phase"] == "serving"
    assert boot.state["migrations"] == "applied"
    assert boot.err.count('CRATE TABLE x ()")') == 1
    assert boot.process.poll() is None


def test_background_migrations_stop_with_the_application(boot: Boot) -> None:
    boot.stub(
        "alembic", "[ -e $FOLDER/boot ] && grep -q serving $FOLDER/boot && exec sleep 63; exit 1"
    )
    boot.start(MIGRATE_DELAYS="0.1").wait_until_serving()
    servers.wait_until("alembic runs", lambda: "sleep 63" in boot.commands())
    boot.process.kill()
    killed_at = time.monotonic()
    boot.process.wait()
    servers.wait_until("all have exited", lambda: not boot.family(), 5)
    assert time.monotonic() - killed_at < 3


def test_background_migrations_stop_with_the_application_during_a_delay(boot: Boot) -> None:
    boot.stub("alembic", "exit 1")
    boot.start(MIGRATE_DELAYS="0 60").until("Starting without the migrations in 60s...")
    servers.wait_until("it sleeps", lambda: "sleep 60" in boot.commands())
    next(p for p in boot.family() if p.cmdline() == ["sleep", "60"]).kill()  # skip the delay
    boot.until("Attempt 3 in the background failed with code 1. Next in 60s...")
    code, _ = boot.end()
    assert code == -15
    servers.wait_until("all have exited", lambda: not boot.family(), 3)
