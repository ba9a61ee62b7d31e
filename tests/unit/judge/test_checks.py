"""The decisions of the checks from plain facts, and how they are shown. No engine, no stack."""

import io
from concurrent.futures import Future
from dataclasses import fields, replace

import pytest
from rich.console import Console

from deal_scout_profile import PROFILE, checkout, commands
from deal_scout_profile.checkout import Script
from deal_scout_profile.diagnosis import DIAGNOSIS
from deal_scout_profile.services import FailingMigrations, next_attempt
from harness.stacks import ROOT
from invoke_stack import timestamps
from invoke_stack.cli.screen.findings import print_findings
from invoke_stack.errors import BadInput, OutOfReach, StackError
from invoke_stack.judge import causes, checks
from invoke_stack.model import (
    CheckResult,
    Disk,
    EngineInfo,
    Finding,
    Health,
    LogLine,
    Replica,
    Result,
    Schema,
    State,
    Status,
)
from invoke_stack.profile import DEFAULT_PROFILE
from invoke_stack.profile.facts import Facts, StackVariables
from invoke_stack.runtimes.machine import read_df
from tests.support.fakes import body, moment

NOW = moment(10_000)
REVISIONS = {
    "0001.py": 'revision = "0001"\ndown_revision = None\n',
    "0002.py": 'revision: str = "0002"\ndown_revision: str | None = "0001"\n',
    "0004.py": 'revision, down_revision = "0004", "0002"\n',
}


def replica(service, **more):
    defaults = {"status": Status.RUNNING, "started_at": moment(0), "health": "healthy", **more}
    return Replica(service, service, "node", **defaults)


def health(state=State.HEALTHY, problem="", **more):
    return Health(
        "backend", "backend", "node", state, "http://x/ready", 200, 1.0, NOW, body(**more), problem
    )


SERVICES = ("postgres", "redis", "backend", "worker", "beat", "frontend")
VARIABLES = StackVariables(
    {"PORT": "8000"}, example_names=("PORT", "POSTGRES_PASSWORD", "ALEMBIC_CMD")
)
REPLICAS = tuple(replica(name, grace=70) for name in SERVICES)
ENGINE = EngineInfo("26.1.5", 0.1, 0.05, "/var/lib/docker", True)
EXTRA_FACTS = ("script", "revisions", "missing", "failing")  # facts that the profile adds


def fact(value):
    """Return a completed fact: its value, or the error that says why it is unknown."""
    future = Future()
    if isinstance(value, StackError):
        future.set_exception(value)
    else:
        future.set_result(value)
    return future


def changed(facts, **more):
    """Return the same facts with other values."""
    futures = {field.name for field in fields(Facts) if field.type.startswith("Future[")}
    extra = {name: fact(more.pop(name)) for name in EXTRA_FACTS if name in more}
    values = {name: fact(v) if name in futures else v for name, v in more.items()}
    return replace(facts, extra={**facts.extra, **extra}, **values)


NOTHING = Facts(
    **dict.fromkeys((each.name for each in fields(Facts) if each.name != "extra"), None), extra={}
)
HEALTHY = changed(
    NOTHING,
    runtime="compose",
    in_containers=True,
    needs_docker=True,
    service="backend",
    profile=PROFILE,
    diagnosis=DIAGNOSIS,
    now=NOW,
    timed_out=(),
    variables=VARIABLES,
    context="default",
    engine=ENGINE,
    compose="2.26.1",
    ports={"backend": (8000,), "frontend": (3000,)},
    holders={},
    will_write_env=False,
    expected_services=SERVICES,
    replicas=REPLICAS,
    healths=(health(),),
    schema=Schema("0002", "0002", ()),
    failing=None,
    output={},
    stale="",
    commands={"backend": "python -m uvicorn app.main:app --fd 3", "worker": "python celery"},
    missing=(),
    disk=Disk("/", 100 << 30, 50 << 30),
    disks=(),
    script=Script(has_crlf=False, is_executable=True),
    revisions=REVISIONS,
)


def with_facts(**more):
    """Return the facts of a healthy stack with other values."""
    return changed(HEALTHY, **more)


def with_replica(service, **more):
    """Return the facts of a healthy stack with one changed replica."""
    return with_facts(
        replicas=tuple(
            replace(replica, **more) if replica.service == service else replica
            for replica in REPLICAS
        )
    )


def with_variables(**values):
    return with_facts(variables=replace(VARIABLES, values=values))


def findings(facts):
    """Return each finding as one text, by its check."""
    return {
        result.check: [" | ".join((f.what, *f.evidence, f.remedy)) for f in result.findings]
        for result in checks.examine(facts)
        if result.findings
    }


def test_checks_all_run_and_find_nothing_in_a_healthy_stack():
    results = checks.examine(HEALTHY)
    assert {r.check: r.result for r in results if r.result is not Result.FINE} == {}
    assert len(results) == len(DIAGNOSIS.checks) == len({check.name for check in DIAGNOSIS.checks})


DENIED = OutOfReach(
    "permission denied on the Docker socket",
    "add yourself to the docker group: sudo usermod -aG docker $USER",
)

CAUSES = {
    "engine: permission denied": (
        with_facts(engine=DENIED, replicas=DENIED, healths=DENIED),
        "engine",
        "permission denied on the Docker socket | Docker host or context: default | add yourself",
    ),
    "old engine": (with_facts(engine=replace(ENGINE, version="19.03.8")), "engine", "too old"),
    "context": (
        with_facts(context=OutOfReach("there is no Docker context 'x'", "available: default")),
        "context",
        "no Docker context 'x' | available: default",
    ),
    "no compose": (
        with_facts(compose=OutOfReach("Docker has no Compose plugin", "install it")),
        "compose",
        "install it",
    ),
    "old compose": (with_facts(compose="2.4.0"), "compose", "Docker Compose 2.4.0 is too old"),
    "clock": (
        with_facts(engine=replace(ENGINE, clock_ahead=-90.0)),
        "clock",
        "the engine's clock is 90 s behind this machine's",
    ),
    "timeout": (
        with_facts(timed_out=("Docker Engine", "the services")),
        "answers",
        "Docker Engine, the services",
    ),
    "compose file": (
        with_facts(ports=OutOfReach("docker compose config failed: yaml: line 3")),
        "project",
        "the Compose file is invalid | docker compose config failed: yaml: line 3",
    ),
    "bad value": (
        with_facts(
            variables=replace(
                VARIABLES, errors=(BadInput("invalid value 'x' for PORT in .env", "use a port"),)
            )
        ),
        "env",
        "invalid value 'x' for PORT in .env | use a port",
    ),
    "incomplete .env": (
        with_facts(variables=replace(VARIABLES, missing=("POSTGRES_PASSWORD",))),
        "env",
        ".env is incomplete: POSTGRES_PASSWORD is not set",
    ),
    "no .env, stack not up": (
        with_facts(
            variables=replace(VARIABLES, missing=("A", "B"), file_exists=False),
            will_write_env=True,
        ),
        "env",
        "there is no .env | the Compose file requires A, B | inv up creates one",
    ),
    ".env without passwords, stack not up": (
        with_facts(variables=replace(VARIABLES, missing=("A", "B")), will_write_env=True),
        "env",
        ".env does not set A, B | the Compose file requires A, B | inv up generates the passwords",
    ),
    "no .env, but data": (
        with_facts(
            variables=replace(VARIABLES, missing=("A",), file_exists=False),
            will_write_env=OutOfReach(".env is missing, and x_data holds data", "restore it"),
        ),
        "env",
        ".env is missing, and x_data holds data | the Compose file requires A | restore it",
    ),
    "no .env in another project": (
        with_facts(variables=replace(VARIABLES, missing=("A",), file_exists=False)),
        "env",
        "there is no .env | the Compose file requires A | create one that sets A",
    ),
    "no .env, and no engine": (
        with_facts(
            variables=replace(VARIABLES, missing=("A",), file_exists=False),
            engine=DENIED,
            will_write_env=DENIED,
        ),
        "env",
        "there is no .env | the Compose file requires A | fix the connection to the engine first",
    ),
    "misspelt variable": (
        with_facts(
            variables=replace(VARIABLES, unknown=("POSTGRES_PASWORD", "COMPOSE_FILE", "MINE"))
        ),
        "env",
        "unknown variable POSTGRES_PASWORD in .env | did you mean POSTGRES_PASSWORD? | rename it",
    ),
    "contradiction": (
        with_variables(
            DATABASE_URL="postgresql://u:p@db.example:5433/d", DB_HOST="postgres", DB_PORT="5432"
        ),
        "addresses",
        "it points to db.example:5433 and takes precedence; they say postgres:5432",
    ),
    "localhost": (
        with_variables(DATABASE_URL="postgresql://u:p@localhost/d"),
        "addresses",
        "points to localhost:5432 | inside a container, that is the container itself",
    ),
    "password in a URL": (
        with_variables(DATABASE_URL="postgresql://u:p@ss/w:rd%#?@postgres:5432/d"),
        "addresses",
        "DATABASE_URL is not a valid URL",
    ),
    "broker": (
        with_variables(REDIS_URL="http://redis"),
        "addresses",
        "REDIS_URL is not a valid URL",
    ),
    "no migrations": (with_variables(ALEMBIC_CMD=" "), "alembic-cmd", "no migrations are applied"),
    "quotes": (
        with_variables(ALEMBIC_CMD="alembic 'upgrade head"),
        "alembic-cmd",
        "cannot be parsed | no closing quotation",
    ),
    "no such command": (
        with_variables(ALEMBIC_CMD="alembic -c alembic.ini status"),
        "alembic-cmd",
        "alembic has no command 'status'",
    ),
    "shell": (
        with_variables(ALEMBIC_CMD="alembic upgrade head && echo"),
        "alembic-cmd",
        "ALEMBIC_CMD contains '&&' | no shell runs it",
    ),
    "no such program": (
        changed(with_variables(ALEMBIC_CMD="alembik upgrade head"), missing=("ALEMBIC_CMD",)),
        "alembic-cmd",
        "ALEMBIC_CMD: program not found: alembik",
    ),
    "no such server": (
        changed(with_variables(UVICORN_CMD="gunicorn x"), missing=("UVICORN_CMD",)),
        "uvicorn-cmd",
        "UVICORN_CMD: program not found: gunicorn",
    ),
    "port": (
        changed(
            with_replica("backend", status=Status.CREATED), holders={8000: "python (process 7)"}
        ),
        "ports",
        "port 8000 of backend is already in use | used by python (process 7) | stop it, or set PORT=8001",
    ),
    "one port twice": (
        with_facts(ports={"backend": (8000,), "frontend": (8000,)}),
        "ports",
        "backend and frontend both use port 8000",
    ),
    "disk": (
        with_facts(disks=(Disk("/data", 100 << 30, 400 << 20),)),
        "disk",
        "/data | 400 MiB of 102400 MiB",
    ),
    "inodes": (with_facts(disks=(Disk("/data", 100 << 30, 50 << 30, 0.001),)), "disk", "inodes"),
    "crlf": (with_facts(script=Script(True, True)), "entrypoint", "Windows line endings (CRLF)"),
    "bit": (
        with_facts(script=Script(False, False)),
        "entrypoint",
        "chmod +x backend/entrypoint.sh",
    ),
    "stack not up": (
        with_facts(replicas=OutOfReach("the stack is not up", "start it with: inv up")),
        "running",
        "the stack is not up | start it with: inv up",
    ),
    "unknown service": (
        with_facts(service="nosuch", healths=OutOfReach("no service 'nosuch'")),
        "running",
        "unknown service 'nosuch' in stack.service | services: backend, beat,",
    ),
    "missing service": (
        with_facts(replicas=REPLICAS[1:], healths=(health(State.UNHEALTHY, db=False),)),
        "running",
        "postgres is missing | backend cannot reach it | inv up",
    ),
    "exited service": (
        with_replica("redis", status=Status.EXITED, reason="exit code 1"),
        "running",
        "redis is not running (exited) | exit code 1 | inv up",
    ),
    "loop": (
        changed(
            with_replica("backend", status=Status.RESTARTING, restarts=5, reason="exit code 1"),
            output={"backend": ["[entrypoint] Cause: alembic: broken", "[entrypoint] more"]},
        ),
        "restarts",
        "backend keeps exiting: restarted 5 times | exit code 1 | alembic: broken",
    ),
    "slow loop": (
        with_replica("worker", restarts=3, started_at=moment(9_900)),
        "restarts",
        "3 times",
    ),
    "memory": (
        with_replica(
            "worker", restarts=1, reason="it ran out of memory at 01:02:03 UTC and was restarted"
        ),
        "memory",
        "worker was killed: out of memory | it ran out of memory at 01:02:03 UTC",
    ),
    "probe": (
        with_replica("postgres", health="unhealthy", reason="no response"),
        "probes",
        "postgres is unhealthy | health check: no response | inv restart postgres",
    ),
    "no answer": (
        with_facts(healths=(health(State.UNREACHABLE, "connection refused"),)),
        "health",
        "backend does not answer | connection refused | inv restart backend",
    ),
    "health unknown": (
        with_facts(healths=(health(State.UNKNOWN, "its container has no wget"),)),
        "health",
        "the health of backend is unknown | its container has no wget | install wget, curl or",
    ),
    "database down": (
        changed(
            with_replica("postgres", status=Status.EXITED),
            healths=(health(State.UNHEALTHY, db=False),),
        ),
        "running",
        "postgres is not running (exited) | backend cannot reach it | inv up",
    ),
    "database stuck": (
        changed(
            with_replica("postgres", health="unhealthy", reason="no response"),
            healths=(health(State.UNHEALTHY, db=False),),
        ),
        "probes",
        "health check: no response | backend cannot reach it | inv restart postgres",
    ),
    "database down, but its health check still passes": (
        with_facts(healths=(health(State.UNHEALTHY, db=False),)),
        "health",
        "backend cannot reach the database | postgres is running, but does not answer | inv restart postgres",
    ),
    "database elsewhere": (
        changed(with_variables(DB_HOST="db.example"), healths=(health(State.UNHEALTHY, db=False),)),
        "health",
        "backend cannot reach the database | its address is set by DB_HOST | correct DB_HOST in .env",
    ),
    "broker elsewhere": (
        changed(
            with_variables(REDIS_URL="redis://r"), healths=(health(State.UNHEALTHY, redis=False),)
        ),
        "health",
        "backend cannot reach Redis | its address is set by REDIS_URL | correct REDIS_URL in .env",
    ),
    "password": (
        with_facts(
            healths=(health(State.UNHEALTHY, db=False),),
            output={
                "backend": [
                    '[entrypoint] Cause: FATAL:  password authentication failed for user "s"'
                ]
            },
        ),
        "health",
        "restore the previous POSTGRES_PASSWORD in .env",
    ),
    "waiting": (
        with_facts(healths=(health(State.STARTING, phase="migrating", attempt=4, attempts=6),)),
        "health",
        "still starting: migrating, attempt 4",
    ),
    "no heartbeat": (
        with_replica("beat", health="unhealthy", reason="45 s since the last heartbeat"),
        "heartbeats",
        "beat sends no heartbeat | 45 s since the last heartbeat | inv restart beat",
    ),
    "behind": (
        with_facts(
            schema=Schema("0001", "0002", ("0002",)),
            healths=(health(State.DEGRADED, migrations="behind"),),
        ),
        "schema",
        "the schema is behind: 0001, the code needs 0002 | pending: 0002 | inv migrate",
    ),
    "ahead": (
        with_facts(
            schema=Schema("0003", "0002", ()), healths=(health(State.DEGRADED, migrations="ahead"),)
        ),
        "schema",
        "ahead of the code | it is at 0003, the code needs 0002",
    ),
    "failed": (
        with_facts(
            healths=(health(State.DEGRADED, migrations="failed"),),
            output={
                "backend": [
                    "[entrypoint] Cause: Multiple head revisions are present",
                    "other error",
                ]
            },
        ),
        "schema",
        "the migrations failed and are being retried | Multiple head revisions are present | alembic merge",
    ),
    "failed, but current": (
        with_facts(failing=FailingMigrations("Can't locate revision 'nosuch'", None)),
        "schema",
        "keep failing, although the schema is current | Can't locate revision 'nosuch' | inv up",
    ),
    "failed, with a next attempt": (
        with_facts(
            healths=(health(State.DEGRADED, migrations="failed"),),
            output={"backend": ["[entrypoint] Cause: KeyError: 'nope'"]},
            failing=FailingMigrations("KeyError: 'nope'", moment(10_044)),
        ),
        "schema",
        "KeyError: 'nope' | as of the last attempt; the next one is in 44 s | fix",
    ),
    "cause of another check": (
        with_facts(
            healths=(health(State.UNHEALTHY, db=False),),
            output={"backend": ["[entrypoint] Cause: KeyError: 'nope'"]},
        ),
        "health",
        "postgres is running, but does not answer | inv restart postgres",
    ),
    "database that rejects its clients": (
        changed(
            with_replica("postgres", status=Status.RESTARTING, reason="exit status 2"),
            output={
                "postgres": [
                    'PANIC:  could not open file "global/pg_control": No such file or directory',
                    "FATAL:  the database system is starting up",
                    "FATAL:  the database system is not yet accepting connections",
                    "FATAL:  the database system is in recovery mode",
                ]
            },
        ),
        "restarts",
        'exit status 2 | PANIC:  could not open file "global/pg_control"',
    ),
    "stale": (with_facts(stale=".env has changed"), "configuration", ".env has changed"),
    "main process is a shell": (
        with_facts(commands={"backend": "sh -c 'uvicorn app.main:app; echo'"}),
        "signals",
        "backend never receives SIGTERM: its main process is a shell",
    ),
    "grace": (
        with_replica("worker", grace=10),
        "grace",
        "the grace period of worker is too short | its work may take 60 s; it is killed after 10 s",
    ),
}


@pytest.mark.parametrize("name", CAUSES)
def test_finding_has_its_evidence_and_remedy(name):
    facts, check, expected = CAUSES[name]
    texts = findings(facts)
    assert any(expected in text for text in texts[check]), texts
    assert not any(text.endswith(" | ") for text in texts[check])  # each has a remedy


def line(seconds, text):
    return LogLine(
        timestamps.log_time(moment(seconds)), "backend", "backend", "node", "stdout", text
    )


def test_causes_ignore_lines_before_the_current_start():
    assert causes.relevant_since([replica("backend", started_at=moment(9_000))], NOW) == moment(
        9_000
    )
    restarted = replica("backend", started_at=moment(9_990), restarts=2)
    assert causes.relevant_since([restarted], NOW) == moment(9_930)
    assert causes.relevant_since(
        [replica("backend", started_at=moment(0), restarts=2)], NOW
    ) == moment(0)
    assert causes.relevant_since([replica("backend", status=Status.EXITED)], NOW) is None
    assert causes.last_minute([]) == []
    lines = [line(10, "[entrypoint] Cause: old"), line(100, "new"), line(130, "last")]
    assert [each.text for each in causes.last_minute(lines)] == ["new", "last"]


def test_next_attempt_is_known_until_it_begins():
    text = "[entrypoint] Attempt 7 in the background failed with code 1. Next in 64s..."
    lines = [line(9_900, text), line(9_980, text), line(9_981, "other")]
    assert next_attempt(lines, NOW) == moment(10_044)
    assert next_attempt(lines, moment(10_050)) is None
    assert next_attempt(lines[2:], NOW) is None


def test_remedy_omits_build_when_the_runtime_builds_no_images():
    output = {"backend": ["[entrypoint] Cause: KeyError: 'nope'"]}
    failed = with_facts(healths=(health(State.DEGRADED, migrations="failed"),), output=output)
    assert "inv up --build" in findings(failed)["schema"][0]
    assert (
        "--build"
        not in findings(changed(failed, runtime="local", in_containers=False))["schema"][0]
    )
    heads = REVISIONS | {"0005.py": 'revision = "0005"\ndown_revision = "0002"\n'}
    assert "--build" in findings(with_facts(revisions=heads))["revisions"][0]
    assert (
        "--build"
        not in findings(with_facts(revisions=heads, runtime="local", in_containers=False))[
            "revisions"
        ][0]
    )


def test_cause_is_reported_by_one_check_only():
    assert list(findings(CAUSES["engine: permission denied"][0])) == ["engine"]
    assert list(findings(CAUSES["context"][0])) == ["context"]
    assert list(findings(CAUSES["loop"][0])) == ["restarts"]
    assert list(findings(CAUSES["memory"][0])) == ["memory"]
    assert list(findings(CAUSES["no heartbeat"][0])) == ["heartbeats"]
    assert list(findings(CAUSES["stack not up"][0])) == ["running"]
    assert list(findings(CAUSES["timeout"][0])) == ["answers"]
    assert list(findings(CAUSES["database down"][0])) == ["running"]
    assert list(findings(CAUSES["database stuck"][0])) == ["probes"]
    no_database = with_facts(healths=(health(State.UNHEALTHY, db=False, migrations="failed"),))
    assert list(findings(no_database)) == ["health"]
    no_port = with_replica("backend", status=Status.CREATED, reason="Bind: address already in use")
    assert list(findings(changed(no_port, holders={8000: ""}, healths=()))) == ["ports"]
    assert list(findings(changed(no_port, healths=()))) == ["running"]  # the port is free again


def test_checks_find_nothing_in_valid_variations():
    for facts in (
        with_variables(DATABASE_URL="postgresql://u:p@db:5432/d", DB_HOST="db", DB_PORT="5432"),
        with_variables(DATABASE_URL="postgresql://u:p%40ss@db/d?sslmode=require"),
        with_variables(ALEMBIC_CMD="alembic -x a=b -c 'my alembic.ini' upgrade head"),
        with_variables(ALEMBIC_CMD="python -m app.seed"),
        with_replica("backend", restarts=1, started_at=moment(9_999)),
        with_replica("backend", restarts=9, started_at=moment(0)),
        with_facts(disks=(Disk("/", 1 << 40, 100 << 30), Disk("/tmp", 64 << 20, 60 << 20))),
        with_facts(healths=(health(State.STARTING, phase="migrating", attempt=1),)),
        with_facts(
            commands={"backend": "/bin/sh backend/entrypoint.sh"},
            healths=(health(phase="migrating"),),
        ),
    ):
        assert findings(facts) == {}


def test_findings_never_show_a_password():
    url = "postgresql://scout:sentinel@ss/w:rd@db:1/d"
    for name, text in (
        ("DATABASE_URL", url),
        ("DATABASE_URL", "postgresql://scout:sentinel@db:5433/d"),
        ("ALEMBIC_CMD", "alembic -x pw=sentinel 'upgrade"),
        ("ALEMBIC_CMD", "x --pw sentinel ; y"),
    ):
        texts = findings(changed(with_variables(**{name: text, "DB_HOST": "x"}), missing=(name,)))
        assert texts
        assert "sentinel" not in str(texts)


def test_running_reports_a_missing_service_that_the_user_added():
    added = with_facts(expected_services=(*SERVICES, "mailer"))
    assert findings(added) == {"running": ["mailer is missing | inv up"]}


def test_probes_report_the_backend_when_it_is_not_the_main_service():
    facts = changed(
        with_replica("backend", health="unhealthy"), service="frontend", healths=(health(),)
    )
    assert list(findings(facts)) == ["probes"]


def test_disk_reports_a_full_disk_when_no_engine_answers():
    facts = with_facts(
        disk=Disk("/", 100 << 30, 400 << 20), disks=DENIED, engine=DENIED, replicas=DENIED
    )
    assert "nearly full: /" in findings(facts)["disk"][0]


def test_checks_of_another_project_are_only_the_general_ones():
    facts = with_facts(
        profile=DEFAULT_PROFILE,
        diagnosis=checks.diagnosis_of(DEFAULT_PROFILE),
        service="web",
        replicas=(replica("web", health="unhealthy"),),
        healths=(),
    )
    names = {result.check for result in checks.examine(facts)}
    assert names.isdisjoint({"schema", "heartbeats", "alembic-cmd", "entrypoint", "revisions"})
    assert {"engine", "ports", "disk", "running", "memory", "probes"} <= names
    assert list(findings(facts)) == ["probes"]
    job = replica("job", status=Status.EXITED, exit_code=0, health=None)
    assert findings(changed(facts, replicas=(replica("web"), job))) == {}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"0003.py": "revision = '0003'\ndown_revision = '0001'\n"}, "have 2 heads: 0004, 0003"),
        (
            {"0003.py": "revision = '0003'\ndown_revision = '0007'\n"},
            "revision 0007 is missing",
        ),
        (
            {"0003.py": "revision = '0002'\ndown_revision = '0001'\n"},
            "two migrations have the revision 0002",
        ),
        ({"0003.py": "revision = '0003'\ndef upgrade(:\n"}, "0003.py has a syntax error | line 2"),
        ({"0003.py": "def upgrade(): pass\n"}, "0003.py has no revision"),
    ],
)
def test_revisions_reports_broken_chains(files, expected):
    texts = findings(with_facts(revisions=REVISIONS | files))["revisions"]
    assert any(expected in text for text in texts)


def test_revisions_accepts_a_merge_of_two_heads():
    merged = REVISIONS | {
        "0003.py": "revision = '0003'\ndown_revision = '0001'\n",
        "0004.py": "revision = '0004'\ndown_revision = ('0002', '0003')\n",
    }
    assert findings(with_facts(revisions=merged)) == {}
    assert checkout.parse_revision("x.py", merged["0004.py"]).parents == ("0002", "0003")


@pytest.mark.parametrize(
    ("lines", "cause"),
    [
        ([], ()),
        (["[entrypoint] Cause: A", "[entrypoint] Cause: the same as before."], ("A",)),
        (
            ["Traceback (most recent call last):", "  File x", "ValueError: no", "bye"],
            ("ValueError: no",),
        ),
        (["2026-01-01 FATAL:  no room", "shut down"], ("FATAL:  no room",)),
        (["ready", "connection refused", "ready"], ("connection refused",)),
        (["error " + "x" * 500], ("error " + "x" * 194 + "…",)),
    ],
)
def test_find_cause_returns_the_line_with_the_cause(lines, cause):
    assert causes.find_cause(lines) == cause


def test_find_cause_falls_back_to_the_last_line_after_an_exit():
    assert causes.find_cause(["one", "two", ""]) == ()
    assert causes.find_cause(["one", "two", ""], has_ended=True) == ("two",)


def test_program_returns_the_first_word_of_a_command():
    assert commands.program("alembic upgrade head") == "alembic"
    assert commands.program("'my alembic' x") == "my alembic"
    assert commands.program("") == commands.program("'") == ""


def test_read_df_parses_the_output_of_df():
    output = (
        "Filesystem 1024-blocks Used Available Capacity Mounted on\noverlay 1000 100 850 11% /\n"
    )
    assert read_df("x", output) == Disk("x", 1000 * 1024, 850 * 1024)


# Rendering


CHECK_RESULTS = [
    CheckResult("engine", (Finding("a " * 50, ("b " * 50,), "c " * 50),)),
    CheckResult("env"),
    CheckResult("disk"),
    CheckResult("clock", skipped="the local runtime needs no Docker"),
    CheckResult("compose", skipped="the local runtime needs no Docker"),
]


def rendered(width, **more):
    console = Console(file=io.StringIO(), width=width, **more)
    print_findings(console, CHECK_RESULTS, "local", 0.25)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_print_findings_shows_problems_first_and_fits_the_width(width):
    text = rendered(width, force_terminal=True, color_system=None)
    assert text.startswith("✗ a a")
    assert "\n→ c c" in text
    assert "1 problem (5 checks in 0.2 s, local)" in text
    assert "✓ env" in text
    assert "clock, compose: the local runtime needs no Docker" in text.replace("\n  ", " ")
    assert max(map(len, text.splitlines())) <= width
    # Continuation lines are indented.
    assert all(line[:1] in "✗→ ✓-1" for line in text.splitlines() if line)


def test_print_findings_uses_one_line_each_without_a_terminal():
    lines = rendered(10_000).splitlines()
    assert [line[:3] for line in lines] == ["✗ a", "  b", "→ c", "", "1 p", "✓ e", "- c"]


def test_checks_are_all_listed_in_the_documentation():
    page = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
    assert [check.name for check in DIAGNOSIS.checks if f"`{check.name}`" not in page] == []
