"""ALEMBIC_CMD is words with quotes, and no shell ever sees it."""

from __future__ import annotations

import pytest

from tests.integration.boot.boots import Boot


@pytest.mark.parametrize("command", ["", "  "])
def test_f15_an_empty_command_skips_the_migrations(boot: Boot, command: str, shell: str) -> None:
    boot.use_shell(shell).start(ALEMBIC_CMD=command).wait_until_serving()
    assert boot.migration_markers()[0] == "ALEMBIC_CMD is empty: migrations skipped."
    assert not any("Alembic attempt" in marker for marker in boot.markers)
    assert boot.state["migrations"] == "skipped"


def test_f15_an_unknown_binary_is_told_in_one_line(boot: Boot) -> None:
    boot.start(ALEMBIC_CMD="no-such-program upgrade head", MIGRATE_DELAYS="60")
    boot.until("Starting without them")
    assert boot.migration_markers()[1:3] == [
        "Cause: ALEMBIC_CMD: no-such-program: No such file or directory",
        "✗ Alembic exited with code 127.",
    ]
    assert boot.err == ""


def test_f15_quotes_are_honoured_and_nothing_else(boot: Boot) -> None:
    boot.stub("alembic", 'for word; do echo "<$word>"; done')
    boot.start(
        ALEMBIC_CMD="""alembic "two words" 'a "b"' $HOME * `touch pwned` $(touch pwned) a\\ b; touch pwned"""
    )
    boot.until("✓ Migrations applied successfully.")
    words = [line[1:-1] for line in boot.out.splitlines() if line.startswith("<")]
    assert words == [
        *("two words", 'a "b"', "$HOME", "*", "`touch", "pwned`", "$(touch", "pwned)"),
        *("a b;", "touch", "pwned"),
    ]
    assert not (boot.folder / "pwned").exists()
