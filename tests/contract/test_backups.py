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
    # The containers set POSTGRES_USER, the local runtime PGUSER.
    user = 'PGUSER="${PGUSER:-$POSTGRES_USER}"'
    command = f'{user} exec psql -At --dbname="$0" --command="$1"'
    return stack.run("postgres", "sh", "-c", command, database, statement).strip()


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


def test_backup_is_private_and_named_by_time_and_revision(stack, archive):
    assert archive.parent == stack.root / "backups"
    assert archive.name.endswith(f"Z-{HEAD}.dump")
    if sys.platform != "win32":
        assert stat.S_IMODE(archive.stat().st_mode) == 0o600
        assert stat.S_IMODE(archive.parent.stat().st_mode) == 0o700
    assert not list(archive.parent.glob("*.partial"))
    checksum = archive.with_name(f"{archive.name}.sha256").read_text("utf-8")
    assert checksum == f"{hashlib.sha256(archive.read_bytes()).hexdigest()}  {archive.name}\n"


def test_restore_keeps_the_replaced_database(stack):
    old = create_deal(stack)
    archive = stack.ok("backup").strip()
    new = create_deal(stack)
    result = stack.inv("restore", archive, "--yes")
    assert result.returncode == 0, result.stderr
    assert "backend is ready" in result.stderr
    assert has_deal(stack, old)
    assert not has_deal(stack, new)
    replaced = next(word.strip(";") for word in result.stderr.split() if "_before_" in word)
    assert has_deal(stack, new, replaced)
    # The application uses the restored database at once.
    assert has_deal(stack, create_deal(stack))
    sql(stack, f"DROP DATABASE {replaced}")


def test_restore_migrates_an_older_backup(stack):
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


def test_restore_refuses_a_newer_backup(stack):
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


@pytest.mark.parametrize("damage", ["truncated", "foreign", "missing"])
def test_restore_refuses_an_invalid_file(stack, archive, damage):
    bad = archive.with_name("bad.dump")
    if damage == "truncated":
        content = archive.read_bytes()
        bad.write_bytes(content[: len(content) // 2])
    elif damage == "foreign":
        bad.write_text("CREATE TABLE nothing ();")
    deal = create_deal(stack)
    result = stack.inv("restore", str(bad), "--yes")
    assert result.returncode == 2, result.stderr
    assert has_deal(stack, deal)
    bad.unlink(missing_ok=True)


def test_restore_detects_a_changed_byte(stack, archive):
    bad = shutil.copy2(archive, archive.with_name("changed.dump"))
    checksum = archive.with_name(f"{archive.name}.sha256")
    content = bytearray(bad.read_bytes())
    # The table of contents has no checksum of its own.
    content[content.index(b"CHECK ((price") + 9] ^= 1
    bad.write_bytes(content)
    result = stack.inv("restore", str(bad), "--dry-run")
    assert "no changed.dump.sha256" in result.stderr
    result = stack.inv("restore", str(bad), "--yes")
    assert result.returncode == 3
    assert "the database is unchanged" in result.stderr
    shutil.copy2(checksum, bad.with_name("changed.dump.sha256"))
    result = stack.inv("restore", str(bad), "--yes")
    assert result.returncode == 2
    assert "its checksum is not the one" in result.stderr


def test_backup_times_out_and_leaves_no_partial_file(stack):
    folder = stack.root / "backups"
    server = stack.pids("postgres")[0]
    stack.signal(server, signal.SIGSTOP)
    try:
        verb = stack.start(
            "backup",
            stderr=subprocess.DEVNULL,
        )
        wait_until("the backup has begun", lambda: list(folder.glob("*.partial")))
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
    wait_until("the stack is healthy again", stack.is_healthy)


def test_migrate_reports_a_failing_migration(stack):
    if stack.runtime != "local":
        pytest.skip("the revisions are part of the image")
    bad = stack.root / "alembic" / "versions" / "0009_bad.py"
    bad.write_text(f'revision = "0009_bad"\ndown_revision = "{HEAD}"\ndef upgrade(: pass\n')
    try:
        result = stack.inv("migrations")
        assert (result.returncode, "fix that file" in result.stderr) == (3, True)
        bad.write_text(
            f'revision = "0009_bad"\ndown_revision = "{HEAD}"\ndef upgrade():\n    1 / 0\n'
        )
        result = stack.inv("migrate")
        assert (result.returncode, "a migration failed" in result.stderr) == (3, True)
    finally:
        bad.unlink()


def test_restore_asks_for_confirmation(stack, archive):
    result = stack.inv("restore", str(archive))
    assert result.returncode == 2
    assert "--yes" in result.stderr
    result = stack.inv("restore", str(archive), "--dry-run")
    assert (result.returncode, HEAD in result.stderr) == (0, True)
    assert "deal_scout_before_" in result.stdout
    assert "nothing was changed" in result.stdout


def test_backup_refuses_a_database_outside_the_stack(stack):
    external = {"DATABASE_URL": "postgresql://u:secret@db.example/x"}
    result = stack.inv("backup", env=os.environ | external)
    if stack.runtime == "local":  # ignores the variable
        assert result.returncode == 0
    else:
        assert result.returncode == 2
        assert "secret" not in result.stderr
