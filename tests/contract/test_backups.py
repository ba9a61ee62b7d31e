"""`inv migrate`, `inv backup` and `inv restore` on a real stack of each runtime."""

import hashlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import uuid
from pathlib import Path

import httpx
import pytest

from harness.servers import wait_until

pytestmark = pytest.mark.slow

HEAD, BEFORE = "0003_deals_newest", "0002_deals_checks"


def sql(stack, statement, database="deal_scout"):
    # What the containers call it, and what the programs of the local runtime are told.
    user = 'PGUSER="${PGUSER:-$POSTGRES_USER}"'
    words = f'{user} exec psql -At --dbname="$0" --command="$1"'
    return stack.run("postgres", "sh", "-c", words, database, statement).strip()


def create_deal(stack):
    url = f"https://shop.example/{uuid.uuid4()}"
    deal = {"title": "Lamp", "url": url, "price": "9.50", "currency": "EUR", "source": "test"}
    httpx.post(f"{stack.url()}/deals", json=deal).raise_for_status()
    return url


def has_deal(stack, url, database="deal_scout"):
    return sql(stack, f"SELECT count(*) FROM deals WHERE url = '{url}'", database) == "1"


def downgrade(stack):
    stack.run("backend", "alembic", "downgrade", BEFORE)


@pytest.fixture
def archive(stack):
    return Path(stack.ok("backup").strip())


def test_a_backup_is_for_its_owner_only_and_named_by_time_and_revision(stack, archive):
    assert archive.parent == stack.root / "backups"
    assert archive.name.endswith(f"Z-{HEAD}.dump")
    if sys.platform != "win32":
        assert stat.S_IMODE(archive.stat().st_mode) == 0o600
        assert stat.S_IMODE(archive.parent.stat().st_mode) == 0o700
    assert not list(archive.parent.glob("*.partial"))
    told = archive.with_name(f"{archive.name}.sha256").read_text("utf-8")
    assert told == f"{hashlib.sha256(archive.read_bytes()).hexdigest()}  {archive.name}\n"


def test_restore_brings_back_what_was_and_keeps_what_is(stack):
    old = create_deal(stack)
    archive = stack.ok("backup").strip()
    new = create_deal(stack)
    result = stack.inv("restore", archive, "--yes")
    assert result.returncode == 0, result.stderr
    assert "backend is ready" in result.stderr
    assert has_deal(stack, old)
    assert not has_deal(stack, new)
    kept = next(word.strip(";") for word in result.stderr.split() if "_before_" in word)
    assert has_deal(stack, new, kept)
    # The application works on the new one at once.
    assert has_deal(stack, create_deal(stack))
    sql(stack, f"DROP DATABASE {kept}")


def test_an_older_backup_is_migrated(stack):
    downgrade(stack)
    plan = stack.inv("migrate", "--dry-run")
    assert (plan.returncode, HEAD in plan.stderr) == (0, True)
    assert stack.json("migrations")["pending"] == [HEAD]
    archive = stack.ok("backup").strip()
    assert stack.inv("migrate").returncode == 0
    assert stack.json("migrations")["current"] == HEAD
    result = stack.inv("restore", archive, "--yes")
    assert result.returncode == 0, result.stderr
    assert "older than the code" in result.stderr
    assert stack.json("migrations") == {"current": HEAD, "head": HEAD, "pending": []}
    again = stack.inv("migrate")
    assert (again.returncode, "nothing to do" in again.stderr) == (0, True)


def test_a_newer_backup_is_refused_and_nothing_changed(stack):
    sql(stack, "UPDATE alembic_version SET version_num = '0009_from_the_future'")
    try:
        archive = stack.ok("backup").strip()
        assert stack.inv("migrate").returncode == 3
    finally:
        sql(stack, f"UPDATE alembic_version SET version_num = '{HEAD}'")
    result = stack.inv("restore", archive, "--yes")
    assert result.returncode == 2
    assert "0009_from_the_future" in result.stderr
    assert "_new_" not in sql(stack, "SELECT string_agg(datname, ' ') FROM pg_database")


@pytest.mark.parametrize("harm", ["cut", "foreign", "missing"])
def test_what_is_no_backup_is_refused_before_anything_changes(stack, archive, harm):
    bad = archive.with_name("bad.dump")
    if harm == "cut":
        whole = archive.read_bytes()
        bad.write_bytes(whole[: len(whole) // 2])
    elif harm == "foreign":
        bad.write_text("CREATE TABLE nothing ();")
    deal = create_deal(stack)
    result = stack.inv("restore", str(bad), "--yes")
    assert result.returncode == 2, result.stderr
    assert has_deal(stack, deal)
    bad.unlink(missing_ok=True)


def test_a_byte_that_changed_is_noticed(stack, archive):
    bad = shutil.copy2(archive, archive.with_name("changed.dump"))
    total = archive.with_name(f"{archive.name}.sha256")
    whole = bytearray(bad.read_bytes())
    whole[whole.index(b"CHECK ((price") + 9] ^= 1  # in the table of contents, which has no checksum
    bad.write_bytes(whole)
    shown = stack.inv("restore", str(bad), "--dry-run")
    assert "no changed.dump.sha256" in shown.stderr
    result = stack.inv("restore", str(bad), "--yes")
    assert result.returncode == 3
    assert "the database is unchanged" in result.stderr
    shutil.copy2(total, bad.with_name("changed.dump.sha256"))
    result = stack.inv("restore", str(bad), "--yes")
    assert result.returncode == 2
    assert "its checksum is not the one" in result.stderr


def test_a_backup_does_not_wait_for_ever_and_leaves_nothing_half(stack):
    folder = stack.root / "backups"
    server = stack.pids("postgres")[0]
    stack.signal(server, signal.SIGSTOP)
    try:
        verb = stack.start(
            "backup",
            stderr=subprocess.DEVNULL,
        )
        wait_until("it has begun", lambda: list(folder.glob("*.partial")))
        verb.send_signal(signal.SIGTERM)
        assert verb.wait(20) == 128 + signal.SIGTERM
        assert not list(folder.glob("*.partial"))
        (folder / "old.partial").touch()
        result = stack.inv("backup")
        assert result.returncode == 4
        assert "timeout expired" in result.stderr
        assert not list(folder.glob("*.partial"))
    finally:
        stack.signal(server, signal.SIGCONT)
    wait_until("it is healthy again", stack.is_healthy)


def test_a_migration_that_fails_is_told_as_such(stack):
    if stack.runtime != "local":
        pytest.skip("the revisions of an image are not to be changed from here")
    bad = stack.root / "alembic" / "versions" / "0009_bad.py"
    bad.write_text(f'revision = "0009_bad"\ndown_revision = "{HEAD}"\ndef upgrade(: pass\n')
    try:
        result = stack.inv("migrations")
        assert (result.returncode, "fix the revision" in result.stderr) == (3, True)
        bad.write_text(
            f'revision = "0009_bad"\ndown_revision = "{HEAD}"\ndef upgrade():\n    1 / 0\n'
        )
        result = stack.inv("migrate")
        assert (result.returncode, "a migration failed" in result.stderr) == (3, True)
    finally:
        bad.unlink()


def test_restore_asks_first(stack, archive):
    result = stack.inv("restore", str(archive))
    assert result.returncode == 2
    assert "--yes" in result.stderr
    shown = stack.inv("restore", str(archive), "--dry-run")
    assert (shown.returncode, HEAD in shown.stderr) == (0, True)
    assert "deal_scout_before_" in shown.stdout
    assert "nothing was changed" in shown.stdout


def test_a_server_away_is_said(stack):
    elsewhere = {"DATABASE_URL": "postgresql://u:secret@db.example/x"}
    result = stack.inv("backup", env=os.environ | elsewhere)
    if stack.runtime == "local":  # which ignores it
        assert result.returncode == 0
    else:
        assert result.returncode == 2
        assert "secret" not in result.stderr
