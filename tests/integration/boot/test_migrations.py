"""The migrations of a boot: attempts, delays, causes, and what goes on in the background."""

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


def test_six_failures_take_126_seconds_and_the_application_starts(boot: Boot, shell: str) -> None:
    """R4: the delays that it asks `sleep` for, the one after the sixth failure too."""
    boot.stub("sleep", 'echo "$@" >> $FOLDER/slept')
    boot.stub("alembic", TRACEBACK)
    boot.stub("uvicorn", "exec tail -f /dev/null")
    boot.use_shell(shell).start().until_it_serves()
    delays = [2, 4, 8, 16, 32, 64]
    assert [int(line) for line in (boot.folder / "slept").read_text().split()] == delays
    assert sum(delays) == 126
    expected = []
    for attempt, delay in enumerate(delays, 1):
        expected += [
            f"Alembic attempt {attempt}/6 (delay: {delay}s)...",
            f"Cause: {CAUSE}" if attempt == 1 else "Cause: the same as before.",
            "✗ Alembic exited with code 1.",
            f"Retrying in {delay}s..." if attempt < 6 else "Starting without them in 64s...",
        ]
    expected += [
        "⚠️  Migrations did not complete after 6 attempts.",
        "WARNING: Service will start but may have incomplete schema.",
        "The background goes on trying, every 64s.",
        "Starting Uvicorn application...",
    ]
    assert boot.from_migrations_on()[: len(expected)] == expected
    assert boot.state["phase"] == "serving"
    assert boot.state["migrations"] == boot.state["migrations_outcome"] == "failed"


def test_the_second_attempt_may_succeed(boot: Boot) -> None:
    boot.stub("alembic", "[ -e $FOLDER/tried ] || { touch $FOLDER/tried; exit 3; }")
    boot.start(MIGRATE_DELAYS="0.1 0.2").until_it_serves()
    assert boot.from_migrations_on()[:-2] == [
        "Alembic attempt 1/2 (delay: 0.1s)...",
        "Cause: no output",
        "✗ Alembic exited with code 3.",
        "Retrying in 0.1s...",
        "Alembic attempt 2/2 (delay: 0.2s)...",
        "✓ Migrations applied successfully.",
    ]
    assert boot.state["migrations"] == "applied"


def test_a_failure_is_shown_once_and_all_else_always(boot: Boot) -> None:
    """F12: the log names the cause once, clearly."""
    boot.stub("alembic", INFO + "printf '  FAILED:'; sleep 0.1; echo ' so'\n" + TRACEBACK)
    boot.start(MIGRATE_DELAYS="0.1 0.1 0.1").until_it_serves()
    assert boot.markers.count(f"Cause: {CAUSE}") == 1
    assert boot.out.count("FAILED: so") == 1
    assert boot.err.count('CRATE TABLE x ()")') == 1
    assert boot.err.count("Context impl") >= 3


def test_another_cause_is_told_again(boot: Boot) -> None:
    boot.stub("alembic", f"[ -e $FOLDER/tried ] || {{ touch $FOLDER/tried; exit 3; }}\n{TRACEBACK}")
    boot.start(MIGRATE_DELAYS="0.1 0.1 0.1").until_it_serves()
    causes = [marker for marker in boot.markers if marker.startswith("Cause: ")]
    assert causes[:3] == ["Cause: no output", f"Cause: {CAUSE}", "Cause: the same as before."]
    assert boot.err.count("Traceback") == 2  # the one with its own cause


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
def test_the_cause_is_found(boot: Boot, output: str, cause: str) -> None:
    boot.stub("alembic", f"{output}; exit 255")
    boot.start(MIGRATE_DELAYS="30").until(f"Cause: {cause}")
    boot.until("✗ Alembic exited with code 255.")


def test_output_passes_through_while_it_runs(boot: Boot) -> None:
    boot.stub("alembic", INFO + "printf 'half a line'; exec sleep 60")
    boot.start()
    servers.wait_until("stdout", lambda: boot.out.endswith("half a line"))
    assert "Context impl" in boot.err
    assert (boot.state["phase"], boot.state["migrations"]) == ("migrating", "unknown")
    health = boot.health()
    assert health["ok"] is True
    assert (health["phase"], health["attempt"], health["attempts"]) == ("migrating", 1, 6)


def test_an_attempt_is_limited(boot: Boot) -> None:
    boot.stub("alembic", "sleep 61 & sleep 61")
    boot.start(MIGRATE_TIMEOUT="0.3", MIGRATE_DELAYS="60").until("Starting without them")
    assert boot.from_migrations_on()[1:3] == [
        "Cause: it took longer than MIGRATE_TIMEOUT, 0.3s, and was ended",
        "✗ Alembic exited with code 124.",
    ]
    assert "sleep 61" not in boot.commands()


def test_zero_is_no_limit(boot: Boot) -> None:
    boot.stub("alembic", "sleep 0.5")
    boot.start(MIGRATE_TIMEOUT="0").until("✓ Migrations applied successfully.")


def test_a_killed_attempt_is_retried(boot: Boot) -> None:
    boot.stub("alembic", "[ -e $FOLDER/tried ] || { touch $FOLDER/tried; kill -9 $$; }")
    boot.start(MIGRATE_DELAYS="0.1 0.1").until("✓ Migrations applied successfully.")
    assert "Cause: it was ended by signal 9" in boot.markers
    assert "✗ Alembic exited with code 137." in boot.markers


def test_the_socket_is_closed_to_alembic(boot: Boot) -> None:
    boot.stub("alembic", "if true 2>/dev/null <&3; then echo open; else echo closed; fi")
    boot.start().until_it_serves()
    assert "closed" in boot.out.splitlines()


def test_alembic_ends_with_a_killed_runner(boot: Boot) -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux can do that")
    boot.stub("alembic", "echo running; exec sleep 62")
    boot.start()
    servers.wait_until("alembic runs", lambda: "sleep 62" in boot.commands())
    runner = next(p for p in boot.family() if "app.boot.migrations" in p.cmdline())
    runner.kill()
    servers.wait_until("alembic has ended", lambda: "sleep 62" not in boot.commands(), 5)
    boot.until("✗ Alembic exited with code 137.")


def test_the_background_heals_a_degraded_start(boot: Boot) -> None:
    """F13, R5: without a restart."""
    boot.stub("alembic", f"[ -e $FOLDER/fixed ] || {{ {TRACEBACK}\n}}\n")
    boot.start(MIGRATE_DELAYS="0.1 0.2").until("Attempt 3 in the background failed with code 1.")
    assert boot.state["migrations"] == "failed"
    (boot.folder / "fixed").touch()
    boot.until("✓ Migrations applied successfully.").until("It was attempt ")
    servers.wait_until(
        "its end", lambda: not any("app.boot.migrations" in c for c in boot.commands())
    )
    assert boot.state["phase"] == "serving"
    assert boot.state["migrations"] == "applied"
    assert boot.err.count('CRATE TABLE x ()")') == 1
    assert boot.process.poll() is None


def test_the_background_ends_with_the_application(boot: Boot) -> None:
    boot.stub(
        "alembic", "[ -e $FOLDER/boot ] && grep -q serving $FOLDER/boot && exec sleep 63; exit 1"
    )
    boot.start(MIGRATE_DELAYS="0.1").until_it_serves()
    servers.wait_until("alembic runs", lambda: "sleep 63" in boot.commands())
    boot.process.kill()
    began = time.monotonic()
    boot.process.wait()
    servers.wait_until("all have ended", lambda: not boot.family(), 5)
    assert time.monotonic() - began < 3


def test_the_background_ends_with_the_application_while_it_waits(boot: Boot) -> None:
    boot.stub("alembic", "exit 1")
    boot.start(MIGRATE_DELAYS="0 60").until("Starting without them in 60s...")
    servers.wait_until("it sleeps", lambda: "sleep 60" in boot.commands())
    next(p for p in boot.family() if p.cmdline() == ["sleep", "60"]).kill()  # they are over
    boot.until("Attempt 3 in the background failed with code 1. Next in 60s...")
    code, _ = boot.end()
    assert code == -15
    servers.wait_until("all have ended", lambda: not boot.family(), 3)
