"""ALEMBIC_CMD is split like a shell command, but never run by a shell."""

from __future__ import annotations

import pytest

from tests.integration.boot.boots import Boot


@pytest.mark.parametrize("command", ["", "  "])
def test_f15_empty_command_skips_migrations(boot: Boot, command: str, shell: str) -> None:
    boot.use_shell(shell).start(ALEMBIC_CMD=command).wait_until_serving()
    assert boot.migration_markers()[0] == "ALEMBIC_CMD is empty: migrations skipped."
    assert not any("Alembic attempt" in marker for marker in boot.markers)
    assert boot.state["migrations"] == "skipped"


def test_f15_unknown_program_is_reported_in_one_line(boot: Boot) -> None:
    boot.start(ALEMBIC_CMD="no-such-program upgrade head", MIGRATE_DELAYS="60")
    boot.until("Starting without the migrations")
    assert boot.migration_markers()[1:3] == [
        "Cause: ALEMBIC_CMD: no-such-program: No such file or directory",
        "✗ Alembic exited with code 127.",
    ]
    assert boot.err == ""


def test_f15_command_is_split_at_quotes_and_not_expanded(boot: Boot) -> None:
    boot.stub("alembic", 'for argument; do echo "<$argument>"; done')
    boot.start(
        ALEMBIC_CMD="""alembic "two words" 'a "b"' $HOME * `touch pwned` $(touch pwned) a\\ b; touch pwned"""
    )
    boot.until("✓ Migrations applied successfully.")
    arguments = [line[1:-1] for line in boot.out.splitlines() if line.startswith("<")]
    assert arguments == [
        *("two words", 'a "b"', "$HOME", "*", "`touch", "pwned`", "$(touch", "pwned)"),
        *("a b;", "touch", "pwned"),
    ]
    assert not (boot.folder / "pwned").exists()
