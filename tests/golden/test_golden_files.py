"""Golden files in general: comparison, update, stale files, placeholders."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import pytest

from tests.support import goldens, placeholders

HERE = Path(__file__).parent


def test_golden_files_all_belong_to_a_test() -> None:
    """Remove the others if UPDATE_GOLDEN is set."""
    for module in sorted(HERE.glob("test_golden_*.py")):
        importlib.import_module(f"tests.golden.{module.stem}")
    names = goldens.stale()
    if os.environ.get(goldens.UPDATE):
        for name in names:
            (goldens.FOLDER / name).unlink()
        return
    assert names == [], f"no test uses these files; to remove them: {goldens.COMMAND}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(goldens.UPDATE, raising=False)
    monkeypatch.setattr(goldens, "_declared", {"state/verb.txt"})
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "verb.txt").write_text("one\ntwo\n")
    return tmp_path


def test_golden_file_that_differs_fails_with_diff_and_update_command(folder: Path) -> None:
    goldens.compare({"state/verb.txt": "one\ntwo\n"}, folder)
    with pytest.raises(pytest.fail.Exception) as failed:
        goldens.compare({"state/verb.txt": "one\nthree\n"}, folder)
    message = str(failed.value)
    assert "--- tests/golden/state/verb.txt" in message
    assert "-two\n+three\n" in message
    assert message.endswith("UPDATE_GOLDEN=1 inv test --all -k golden")


def test_golden_file_that_is_missing_fails(folder: Path) -> None:
    (folder / "state" / "verb.txt").unlink()
    with pytest.raises(pytest.fail.Exception, match=r"\+one\n\+two"):
        goldens.compare({"state/verb.txt": "one\ntwo\n"}, folder)


def test_golden_file_is_written_when_update_is_set(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(goldens.UPDATE, "1")
    goldens.compare({"state/verb.txt": "three\n"}, folder)
    assert (folder / "state" / "verb.txt").read_text() == "three\n"


def test_golden_file_that_no_test_uses_is_stale(folder: Path) -> None:
    (folder / "state" / "old.txt").touch()
    assert goldens.stale(folder) == ["state/old.txt"]


TABLE = """\
SERVICE  STATE    UP      RESTARTS  PORT
web      healthy  1m 12s  0         21234
worker   exited           12
… worker: no heartbeat yet
"""
ALIGNED = """\
SERVICE  STATE    UP        RESTARTS  PORT
web      healthy  {uptime}  {n}       {web port}
worker   exited             {n}
… worker: no heartbeat yet
"""


def test_golden_table_is_aligned_after_replacement() -> None:
    assert placeholders.text(TABLE, {"21234": "{web port}"}) == ALIGNED
    assert placeholders.text(TABLE.replace("1m 12s", "5s    "), {"21234": "{web port}"}) == ALIGNED


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ready after 4.1 s", "ready after {seconds} s"),
        (
            "  migrations    10.1 s  2 attempts  failed",
            "  migrations {seconds} s  2 attempts  failed",
        ),
        ("within 60 s, at most 600 s", "within 60 s, at most 600 s"),
        ("[entrypoint] Retrying in 0.2s...", "[entrypoint] Retrying in 0.2s..."),
        (
            "last boot: database 0.2s, migrations 5.0s",
            "last boot: database {seconds}s, migrations {seconds}s",
        ),
        ("--url http://127.0.0.1:8000", "--url http://127.0.0.1:8000"),
        (
            "http://127.0.0.1:25951/ready in 10 ms",
            "http://127.0.0.1:{port}/ready in {milliseconds} ms",
        ),
        ("2026-11-28T10:38:52.459Z", "YYYY-MM-DDTHH:MM:SS.fffZ"),
        ("schema: 0003_deals_newest, 1 behind", "schema: 0003_deals_newest, 1 behind"),
    ],
)
def test_golden_placeholders_replace_only_values(line: str, expected: str) -> None:
    assert placeholders.text(line, {}) == f"{expected}\n"


def test_golden_log_order_is_the_same_whichever_pipe_is_read_first() -> None:
    stderr_first = "[entrypoint] a\nFAILED: x\n[entrypoint] Cause: x\n✓ backend is healthy\n"
    stdout_first = "[entrypoint] a\n[entrypoint] Cause: x\nFAILED: x\n✓ backend is healthy\n"
    assert placeholders.text(stderr_first, {}) == placeholders.text(stdout_first, {})
