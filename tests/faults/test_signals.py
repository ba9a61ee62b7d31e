"""F14: a signal ends the boot in each phase, quickly and without orphans."""

from __future__ import annotations

import shutil
import signal
import subprocess

import pytest

from harness import servers
from tests.integration.boot.boots import Boot


def assert_ends(boot: Boot, limit: float, sig: signal.Signals = signal.SIGTERM) -> None:
    """Send a signal; the boot must end within `limit` seconds and leave no process behind."""
    code, seconds = boot.end(sig)
    orphans = boot.commands()
    assert seconds <= limit
    assert code in (128 + sig, -sig)  # of the shell, or the program that replaced it
    assert orphans == []


def test_f14_sigterm_ends_boot_while_it_waits_for_postgres(lone_boot: Boot, shell: str) -> None:
    lone_boot.use_shell(shell).start(DB_WAIT_TIMEOUT="60").until("Attempt 1/60")
    assert_ends(lone_boot, 2)


def test_f14_sigterm_ends_boot_while_nc_hangs(lone_boot: Boot, shell: str) -> None:
    lone_boot.stub("nc", "exec sleep 30")
    lone_boot.use_shell(shell).start(DB_WAIT_TIMEOUT="60")
    servers.wait_until("nc runs", lambda: "sleep 30" in lone_boot.commands())
    assert_ends(lone_boot, 2)


@pytest.mark.parametrize("delays", ["60 1", "60"], ids=["a retry", "the last"])
def test_f14_sigterm_ends_boot_in_a_delay(boot: Boot, shell: str, delays: str) -> None:
    boot.stub("alembic", "exit 1")
    boot.use_shell(shell).start(MIGRATE_DELAYS=delays)
    servers.wait_until("it sleeps", lambda: "sleep 60" in boot.commands())
    assert_ends(boot, 2)


def test_f14_sigterm_ends_boot_while_alembic_runs(boot: Boot, shell: str) -> None:
    boot.stub("alembic", "sleep 61; echo not reached")
    boot.use_shell(shell).start()
    servers.wait_until("alembic runs", lambda: "sleep 61" in boot.commands())
    assert_ends(boot, 10)
    assert boot.markers[-1] == "Alembic attempt 1/6 (delay: 2s)..."


def test_f14_sigterm_ends_boot_while_alembic_ignores_it(boot: Boot) -> None:
    boot.stub("alembic", "trap '' TERM INT; while :; do sleep 0.1; done")
    boot.start()
    servers.wait_until("alembic runs", lambda: "sleep 0.1" in boot.commands())
    assert_ends(boot, 10)


def test_f14_sigterm_ends_boot_while_the_application_starts(boot: Boot, shell: str) -> None:
    # The responder and, after the degraded start, background migrations are still running.
    boot.stub("alembic", "exit 1")
    boot.use_shell(shell).start(MIGRATE_DELAYS="0.1").wait_until_serving()
    servers.wait_until("it started", lambda: "\nuvicorn" in boot.out)
    code, seconds = boot.end()
    assert (code, seconds <= 10) == (-signal.SIGTERM, True)
    servers.wait_until("no orphan", lambda: not boot.family(), 2)


def test_f14_sigterm_ends_boot_while_it_serves(boot: Boot) -> None:
    (boot.bin / "uvicorn").unlink()
    boot.start(UVICORN_CMD="uvicorn application:app --fd 3")
    servers.wait_until("it serves", lambda: servers.is_listening(boot.port))
    servers.wait_until("the handover", lambda: boot.health() == {"phase": "serving"})
    assert_ends(boot, 10)


def test_f14_sigint_ends_boot(lone_boot: Boot, shell: str) -> None:
    lone_boot.use_shell(shell).start(DB_WAIT_TIMEOUT="60").until("Attempt 1/60")
    assert_ends(lone_boot, 2, signal.SIGINT)


def test_f14_sigint_ends_boot_of_a_background_job(lone_boot: Boot, shell: str) -> None:
    ignoring_sigint = ("sh", "-c", "trap '' INT; exec \"$@\"", "sh")
    lone_boot.use_shell(shell).start(*ignoring_sigint, DB_WAIT_TIMEOUT="60").until("Attempt 1/60")
    assert_ends(lone_boot, 2, signal.SIGINT)


def test_f14_sigterm_ends_boot_as_first_process_of_a_container(boot: Boot, shell: str) -> None:
    # The kernel discards signals that process 1 does not handle.
    unshare = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child")
    if not shutil.which("unshare") or subprocess.run([*unshare, "true"]).returncode:
        pytest.skip("no namespaces here")
    boot.stub("alembic", "exit 1")
    boot.use_shell(shell).start(*unshare, MIGRATE_DELAYS="60")
    servers.wait_until("it sleeps", lambda: "sleep 60" in boot.commands())
    process = next(p for p in boot.family() if p.ppid() == boot.process.pid)
    process.send_signal(signal.SIGTERM)
    assert boot.process.wait(2) == 143
    assert boot.commands() == []
