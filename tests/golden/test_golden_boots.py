"""Golden files of the entrypoint's log in each kind of boot, and of HTTP responses during it."""

from __future__ import annotations

import shutil
import sys

import pytest

from harness import servers
from tests.golden import answers
from tests.golden.local import FAILING
from tests.integration.boot.boots import ROOT, Boot
from tests.support import goldens, placeholders

# `sleep` is a stub, so these delays pass at once; only the background waits, longer than a test.
DELAYS = "2 4 600"
WITHOUT_WATCHDOG = {"HEALTH_RESTART_AFTER": "0", "LIVE_RESTART_AFTER": "0"}

LOGS = {
    name: f"boots/{name}.txt"
    for name in (
        "first-start",
        "next-start",
        "failing-migration",
        "no-database",
        "no-migrations",
        "unknown-program",
        "bad-value",
        "open-quote",
    )
}
goldens.declare(LOGS.values())


@pytest.fixture
def real(boot: Boot, redis_server: servers.Redis) -> Boot:
    """Return a boot with the real Alembic and application, and an empty Redis."""
    redis_server.client().flushall()
    return _with_real_programs(boot)


def _with_real_programs(boot: Boot) -> Boot:
    for name in ("alembic", "uvicorn"):
        (boot.bin / name).unlink()
    (boot.folder / "backend").symlink_to(ROOT / "backend")
    shutil.copy(ROOT / "alembic.ini", boot.folder)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "alembic", boot.folder / "alembic", ignore=ignored)
    return boot


def _wait_ready(boot: Boot) -> None:
    servers.wait_until("it serves", lambda: "Uvicorn running on" in boot.err, 60)
    servers.wait_until("it is ready", lambda: boot.ask("/ready")[0] == 200, 60)


def _placeholders(boot: Boot) -> dict[str, str]:
    values = {str(boot.folder): "{folder}", str(boot.port): "{port}", sys.prefix: "{venv}"}
    if database := boot.environ.get("POSTGRES_DB"):  # not set without servers
        values |= {database: "{database}", boot.environ["DB_PORT"]: "{postgres port}"}
    return values | goldens.version_placeholder()


def _log(boot: Boot, *, waits: bool = False) -> str:
    """Return the exit code of a boot, or that it is running, and its output so far."""
    streams = {"stdout": boot.out, "stderr": boot.err}
    sections = "".join(
        f"\n--- {stream}\n{placeholders.text(text, _placeholders(boot), waits=waits)}"
        for stream, text in streams.items()
        if text
    )
    code = boot.process.poll()
    return ("running" if code is None else f"exit code {code}") + f"\n{sections}"


def test_golden_boots_of_a_new_and_a_current_database(real: Boot) -> None:
    real.start()
    _wait_ready(real)
    logs = {LOGS["first-start"]: _log(real)}
    real.end()
    real.start()
    _wait_ready(real)
    logs[LOGS["next-start"]] = _log(real)
    goldens.compare(logs)


def test_golden_boot_with_a_failing_migration(real: Boot) -> None:
    """Three failed attempts, and the first background attempt."""
    (real.folder / "alembic" / "versions" / "9999_failing.py").write_text(FAILING, "utf-8")
    real.stub("sleep", "")
    real.stub("uvicorn", "exec tail -f /dev/null")
    real.start(MIGRATE_DELAYS=DELAYS).until("Attempt 4 in the background", 60)
    goldens.compare({LOGS["failing-migration"]: _log(real)})


def test_golden_boot_without_a_database(lone_boot: Boot) -> None:
    _with_real_programs(lone_boot)
    lone_boot.stub("sleep", "")
    lone_boot.stub("uvicorn", "exec tail -f /dev/null")
    lone_boot.start(DB_WAIT_TIMEOUT="2", MIGRATE_DELAYS=DELAYS)
    lone_boot.until("Attempt 4 in the background", 60)
    goldens.compare({LOGS["no-database"]: _log(lone_boot, waits=True)})


def test_golden_boot_without_migrations(boot: Boot) -> None:
    boot.start(ALEMBIC_CMD="")
    servers.wait_until("the application runs", lambda: "\nuvicorn" in boot.out)
    goldens.compare({LOGS["no-migrations"]: _log(boot)})


def test_golden_boot_with_an_unknown_program(boot: Boot) -> None:
    boot.stub("sleep", "")
    boot.stub("uvicorn", "exec tail -f /dev/null")
    boot.start(ALEMBIC_CMD="no-such-program upgrade head", MIGRATE_DELAYS="2 600")
    boot.until("Attempt 3 in the background")
    goldens.compare({LOGS["unknown-program"]: _log(boot)})


@pytest.mark.parametrize(
    ("name", "variables"),
    [
        ("bad-value", {"MIGRATE_DELAYS": "soon"}),
        ("open-quote", {"ALEMBIC_CMD": "alembic 'upgrade head"}),
    ],
)
def test_golden_boot_refuses_bad_values(
    lone_boot: Boot, name: str, variables: dict[str, str]
) -> None:
    lone_boot.start(**variables)
    lone_boot.process.wait(60)
    goldens.compare({LOGS[name]: _log(lone_boot)})


PATHS = ("/health", "/ready", "/live", "/metrics", "/migrations", "/overview", "/deals")
WAITING = answers.declare("http/responder-waiting", *PATHS)
MIGRATING = answers.declare("http/responder-migrating", *PATHS)
METRICS = answers.declare("http/application", "/metrics")


def _url(boot: Boot) -> str:
    return f"http://127.0.0.1:{boot.port}"


def test_golden_responses_while_waiting(lone_boot: Boot) -> None:
    lone_boot.start(DB_WAIT_TIMEOUT="600").wait_until_listening()
    servers.wait_until("the first second", lambda: lone_boot.health().get("attempt"))
    answers.check(WAITING, _url(lone_boot), _placeholders(lone_boot))


def test_golden_responses_while_migrating(boot: Boot, redis_server: servers.Redis) -> None:
    redis_server.client().flushall()
    boot.stub("alembic", "exec tail -f /dev/null")
    boot.start().until("Alembic attempt")
    servers.wait_until("db and redis are checked", lambda: boot.health()["ok"])
    answers.check(MIGRATING, _url(boot), _placeholders(boot))


def test_golden_metrics_of_the_application(real: Boot) -> None:
    real.start(**WITHOUT_WATCHDOG)
    servers.wait_until("it serves", lambda: "Uvicorn running on" in real.err, 60)
    for path in ("/live", "/nowhere"):
        real.ask(path)
    up = 'deal_scout_up{dependency="db"} 1.0'
    servers.wait_until("the database answers", lambda: up in real.ask("/metrics")[2])
    answers.check(METRICS, _url(real), _placeholders(real))
