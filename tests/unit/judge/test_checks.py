"""What the checks decide from plain facts, and how it is shown. No engine and no stack."""

import io
from concurrent.futures import Future
from dataclasses import fields, replace

import pytest
from rich.console import Console

from deal_scout_profile import PROFILE, checkout, commands
from deal_scout_profile.checkout import Script
from deal_scout_profile.diagnosis import DIAGNOSIS
from deal_scout_profile.services import Failing, next_attempt
from harness.stacks import ROOT
from invoke_stack import timestamps
from invoke_stack.cli.screen.findings import findings_text
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
    given = {"status": Status.RUNNING, "started_at": moment(0), "health": "healthy", **more}
    return Replica(service, service, "node", **given)


def look(state=State.HEALTHY, problem="", **more):
    return Health(
        "backend", "backend", "node", state, "http://x/ready", 200, 1.0, NOW, body(**more), problem
    )


SERVICES = ("postgres", "redis", "backend", "worker", "beat", "frontend")
VARIABLES = StackVariables(
    {"PORT": "8000"}, example_names=("PORT", "POSTGRES_PASSWORD", "ALEMBIC_CMD")
)
REPLICAS = tuple(replica(name, grace=70) for name in SERVICES)
ENGINE = EngineInfo("26.1.5", 0.1, 0.05, "/var/lib/docker", True)
OWN = ("script", "revisions", "missing", "failing")  # facts that the profile adds


def fact(value):
    """A fact that is known, or the error that explains why it is not."""
    future = Future()
    if isinstance(value, StackError):
        future.set_exception(value)
    else:
        future.set_result(value)
    return future


def but(facts, **more):
    """The same facts, but for these values."""
    futures = {each.name for each in fields(Facts) if each.type.startswith("Future[")}
    own = {name: fact(more.pop(name)) for name in OWN if name in more}
    given = {name: fact(v) if name in futures else v for name, v in more.items()}
    return replace(facts, extra={**facts.extra, **own}, **given)


NOTHING = Facts(
    **dict.fromkeys((each.name for each in fields(Facts) if each.name != "extra"), None), extra={}
)
HEALTHY = but(
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
    healths=(look(),),
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


def sick(**more):
    """The facts of a healthy stack, but for these."""
    return but(HEALTHY, **more)


def with_replica(service, **more):
    """The same with one replica that is different."""
    return sick(
        replicas=tuple(
            replace(each, **more) if each.service == service else each for each in REPLICAS
        )
    )


def variables(**given):
    return sick(variables=replace(VARIABLES, values=given))


def found(facts):
    """Each finding in one text, by its check."""
    return {
        each.check: [" | ".join((f.what, *f.evidence, f.remedy)) for f in each.findings]
        for each in checks.examine(facts)
        if each.findings
    }


def test_a_healthy_stack_has_no_findings_and_every_check_is_made():
    made = checks.examine(HEALTHY)
    assert {each.check: each.result for each in made if each.result is not Result.FINE} == {}
    assert len(made) == len(DIAGNOSIS.checks) == len({each.name for each in DIAGNOSIS.checks})


DENIED = OutOfReach(
    "permission denied on the Docker socket",
    "add yourself to the docker group: sudo usermod -aG docker $USER",
)

CAUSES = {
    "engine that is denied": (
        sick(engine=DENIED, replicas=DENIED, healths=DENIED),
        "engine",
        "permission denied on the Docker socket | Docker endpoint: default | add yourself",
    ),
    "old engine": (sick(engine=replace(ENGINE, version="19.03.8")), "engine", "too old"),
    "context": (
        sick(context=OutOfReach("there is no Docker context 'x'", "there are: default")),
        "context",
        "no Docker context 'x' | there are: default",
    ),
    "no compose": (
        sick(compose=OutOfReach("Docker has no Compose plugin", "install it")),
        "compose",
        "install it",
    ),
    "old compose": (sick(compose="2.4.0"), "compose", "Docker Compose 2.4.0 is too old"),
    "clock": (
        sick(engine=replace(ENGINE, clock_ahead=-90.0)),
        "clock",
        "the engine's clock is 90 s behind this machine's",
    ),
    "late": (
        sick(timed_out=("Docker Engine", "the services")),
        "answers",
        "Docker Engine, the services",
    ),
    "compose file": (
        sick(ports=OutOfReach("docker compose config failed: yaml: line 3")),
        "project",
        "the Compose file is invalid | docker compose config failed: yaml: line 3",
    ),
    "bad value": (
        sick(
            variables=replace(
                VARIABLES, errors=(BadInput("invalid value 'x' for PORT in .env", "use a port"),)
            )
        ),
        "env",
        "invalid value 'x' for PORT in .env | use a port",
    ),
    "half filled": (
        sick(variables=replace(VARIABLES, missing=("POSTGRES_PASSWORD",))),
        "env",
        ".env is incomplete: POSTGRES_PASSWORD is not set",
    ),
    "no .env, nothing up": (
        sick(
            variables=replace(VARIABLES, missing=("A", "B"), file_exists=False),
            will_write_env=True,
        ),
        "env",
        "there is no .env | the Compose file requires A, B | inv up creates one",
    ),
    ".env without passwords, nothing up": (
        sick(variables=replace(VARIABLES, missing=("A", "B")), will_write_env=True),
        "env",
        ".env does not set A, B | the Compose file requires A, B | inv up generates the passwords",
    ),
    "no .env, but data": (
        sick(
            variables=replace(VARIABLES, missing=("A",), file_exists=False),
            will_write_env=OutOfReach(".env is missing, and x_data holds data", "restore it"),
        ),
        "env",
        ".env is missing, and x_data holds data | the Compose file requires A | restore it",
    ),
    "no .env in another project": (
        sick(variables=replace(VARIABLES, missing=("A",), file_exists=False)),
        "env",
        "there is no .env | the Compose file requires A | create one that sets A",
    ),
    "no .env, and no engine": (
        sick(
            variables=replace(VARIABLES, missing=("A",), file_exists=False),
            engine=DENIED,
            will_write_env=DENIED,
        ),
        "env",
        "there is no .env | the Compose file requires A | fix the connection to the engine first",
    ),
    "misspelt": (
        sick(variables=replace(VARIABLES, unknown=("POSTGRES_PASWORD", "COMPOSE_FILE", "MINE"))),
        "env",
        "unknown variable POSTGRES_PASWORD in .env | did you mean POSTGRES_PASSWORD? | rename it",
    ),
    "contradiction": (
        variables(
            DATABASE_URL="postgresql://u:p@db.example:5433/d", DB_HOST="postgres", DB_PORT="5432"
        ),
        "addresses",
        "it points to db.example:5433 and takes precedence; they say postgres:5432",
    ),
    "localhost": (
        variables(DATABASE_URL="postgresql://u:p@localhost/d"),
        "addresses",
        "points to localhost:5432 | inside a container, that is the container itself",
    ),
    "password in a URL": (
        variables(DATABASE_URL="postgresql://u:p@ss/w:rd%#?@postgres:5432/d"),
        "addresses",
        "DATABASE_URL is not a valid URL",
    ),
    "broker": (variables(REDIS_URL="http://redis"), "addresses", "REDIS_URL is not a valid URL"),
    "no migrations": (variables(ALEMBIC_CMD=" "), "alembic-cmd", "no migrations are applied"),
    "quotes": (
        variables(ALEMBIC_CMD="alembic 'upgrade head"),
        "alembic-cmd",
        "cannot be parsed | no closing quotation",
    ),
    "no such command": (
        variables(ALEMBIC_CMD="alembic -c alembic.ini status"),
        "alembic-cmd",
        "alembic has no command 'status'",
    ),
    "shell": (
        variables(ALEMBIC_CMD="alembic upgrade head && echo"),
        "alembic-cmd",
        "ALEMBIC_CMD contains '&&' | no shell runs it",
    ),
    "no such program": (
        but(variables(ALEMBIC_CMD="alembik upgrade head"), missing=("ALEMBIC_CMD",)),
        "alembic-cmd",
        "ALEMBIC_CMD: program not found: alembik",
    ),
    "no such server": (
        but(variables(UVICORN_CMD="gunicorn x"), missing=("UVICORN_CMD",)),
        "uvicorn-cmd",
        "UVICORN_CMD: program not found: gunicorn",
    ),
    "port": (
        but(with_replica("backend", status=Status.CREATED), holders={8000: "python (process 7)"}),
        "ports",
        "port 8000 of backend is already in use | used by python (process 7) | stop it, or set PORT=8001",
    ),
    "one port twice": (
        sick(ports={"backend": (8000,), "frontend": (8000,)}),
        "ports",
        "backend and frontend both use port 8000",
    ),
    "disk": (
        sick(disks=(Disk("/data", 100 << 30, 400 << 20),)),
        "disk",
        "/data | 400 MiB of 102400 MiB",
    ),
    "inodes": (sick(disks=(Disk("/data", 100 << 30, 50 << 30, 0.001),)), "disk", "inodes"),
    "crlf": (sick(script=Script(True, True)), "entrypoint", "Windows line endings (CRLF)"),
    "bit": (sick(script=Script(False, False)), "entrypoint", "chmod +x backend/entrypoint.sh"),
    "nothing up": (
        sick(replicas=OutOfReach("the stack is not up", "start it with: inv up")),
        "running",
        "the stack is not up | start it with: inv up",
    ),
    "a service that does not exist": (
        sick(service="nosuch", healths=OutOfReach("no service 'nosuch'")),
        "running",
        "unknown service 'nosuch' in stack.service | services: backend, beat,",
    ),
    "absent": (
        sick(replicas=REPLICAS[1:], healths=(look(State.UNHEALTHY, db=False),)),
        "running",
        "postgres is missing | backend cannot reach it | inv up",
    ),
    "ended": (
        with_replica("redis", status=Status.EXITED, reason="exit code 1"),
        "running",
        "redis is not running (exited) | exit code 1 | inv up",
    ),
    "loop": (
        but(
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
        sick(healths=(look(State.UNREACHABLE, "connection refused"),)),
        "health",
        "backend does not answer | connection refused | inv restart backend",
    ),
    "cannot be asked": (
        sick(healths=(look(State.UNKNOWN, "its container has no wget"),)),
        "health",
        "the health of backend is unknown | its container has no wget | install wget, curl or",
    ),
    "database down": (
        but(
            with_replica("postgres", status=Status.EXITED),
            healths=(look(State.UNHEALTHY, db=False),),
        ),
        "running",
        "postgres is not running (exited) | backend cannot reach it | inv up",
    ),
    "database stuck": (
        but(
            with_replica("postgres", health="unhealthy", reason="no response"),
            healths=(look(State.UNHEALTHY, db=False),),
        ),
        "probes",
        "health check: no response | backend cannot reach it | inv restart postgres",
    ),
    "database that nobody has noticed yet": (
        sick(healths=(look(State.UNHEALTHY, db=False),)),
        "health",
        "backend cannot reach the database | postgres is running, but does not answer | inv restart postgres",
    ),
    "database elsewhere": (
        but(variables(DB_HOST="db.example"), healths=(look(State.UNHEALTHY, db=False),)),
        "health",
        "backend cannot reach the database | its address is set by DB_HOST | correct DB_HOST in .env",
    ),
    "broker elsewhere": (
        but(variables(REDIS_URL="redis://r"), healths=(look(State.UNHEALTHY, redis=False),)),
        "health",
        "backend cannot reach Redis | its address is set by REDIS_URL | correct REDIS_URL in .env",
    ),
    "password": (
        sick(
            healths=(look(State.UNHEALTHY, db=False),),
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
        sick(healths=(look(State.STARTING, phase="migrating", attempt=4, attempts=6),)),
        "health",
        "still starting: migrating, attempt 4",
    ),
    "silent": (
        with_replica("beat", health="unhealthy", reason="45 s since the last heartbeat"),
        "heartbeats",
        "beat sends no heartbeat | 45 s since the last heartbeat | inv restart beat",
    ),
    "behind": (
        sick(
            schema=Schema("0001", "0002", ("0002",)),
            healths=(look(State.DEGRADED, migrations="behind"),),
        ),
        "schema",
        "the schema is behind: 0001, the code needs 0002 | pending: 0002 | inv migrate",
    ),
    "ahead": (
        sick(
            schema=Schema("0003", "0002", ()), healths=(look(State.DEGRADED, migrations="ahead"),)
        ),
        "schema",
        "ahead of the code | it is at 0003, the code needs 0002",
    ),
    "failed": (
        sick(
            healths=(look(State.DEGRADED, migrations="failed"),),
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
    "failed, and current": (
        sick(failing=Failing("Can't locate revision 'nosuch'", None)),
        "schema",
        "keep failing, although the schema is current | Can't locate revision 'nosuch' | inv up",
    ),
    "failed, and tried again soon": (
        sick(
            healths=(look(State.DEGRADED, migrations="failed"),),
            output={"backend": ["[entrypoint] Cause: KeyError: 'nope'"]},
            failing=Failing("KeyError: 'nope'", moment(10_044)),
        ),
        "schema",
        "KeyError: 'nope' | as of the last attempt; the next one is in 44 s | fix",
    ),
    "a cause that is another check's": (
        sick(
            healths=(look(State.UNHEALTHY, db=False),),
            output={"backend": ["[entrypoint] Cause: KeyError: 'nope'"]},
        ),
        "health",
        "postgres is running, but does not answer | inv restart postgres",
    ),
    "a database whose clients are told to wait": (
        but(
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
    "stale": (sick(stale=".env has changed"), "configuration", ".env has changed"),
    "shell before it": (
        sick(commands={"backend": "sh -c 'uvicorn app.main:app; echo'"}),
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
def test_each_cause_is_named_with_its_evidence_and_its_remedy(name):
    facts, check, told = CAUSES[name]
    said = found(facts)
    assert any(told in each for each in said[check]), said
    assert not any(each.endswith(" | ") for each in said[check])  # each has a remedy


def line(seconds, text):
    return LogLine(
        timestamps.log_time(moment(seconds)), "backend", "backend", "node", "stdout", text
    )


def test_what_was_said_before_the_present_start_is_no_evidence():
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
    said = [line(10, "[entrypoint] Cause: old"), line(100, "new"), line(130, "last")]
    assert [each.text for each in causes.last_minute(said)] == ["new", "last"]


def test_the_next_attempt_is_known_until_it_comes():
    told = "[entrypoint] Attempt 7 in the background failed with code 1. Next in 64s..."
    said = [line(9_900, told), line(9_980, told), line(9_981, "other")]
    assert next_attempt(said, NOW) == moment(10_044)
    assert next_attempt(said, moment(10_050)) is None
    assert next_attempt(said[2:], NOW) is None


def test_no_remedy_builds_where_nothing_is_built():
    told = {"backend": ["[entrypoint] Cause: KeyError: 'nope'"]}
    failed = sick(healths=(look(State.DEGRADED, migrations="failed"),), output=told)
    assert "inv up --build" in found(failed)["schema"][0]
    assert "--build" not in found(but(failed, runtime="local", in_containers=False))["schema"][0]
    heads = REVISIONS | {"0005.py": 'revision = "0005"\ndown_revision = "0002"\n'}
    assert "--build" in found(sick(revisions=heads))["revisions"][0]
    assert (
        "--build"
        not in found(sick(revisions=heads, runtime="local", in_containers=False))["revisions"][0]
    )


def test_one_cause_is_told_once():
    assert list(found(CAUSES["engine that is denied"][0])) == ["engine"]
    assert list(found(CAUSES["context"][0])) == ["context"]
    assert list(found(CAUSES["loop"][0])) == ["restarts"]
    assert list(found(CAUSES["memory"][0])) == ["memory"]
    assert list(found(CAUSES["silent"][0])) == ["heartbeats"]
    assert list(found(CAUSES["nothing up"][0])) == ["running"]
    assert list(found(CAUSES["late"][0])) == ["answers"]
    assert list(found(CAUSES["database down"][0])) == ["running"]
    assert list(found(CAUSES["database stuck"][0])) == ["probes"]
    away = sick(healths=(look(State.UNHEALTHY, db=False, migrations="failed"),))
    assert list(found(away)) == ["health"]
    taken = with_replica("backend", status=Status.CREATED, reason="Bind: address already in use")
    assert list(found(but(taken, holders={8000: ""}, healths=()))) == ["ports"]
    assert list(found(but(taken, healths=()))) == ["running"]  # it is free by now


def test_what_is_as_it_should_be_is_no_finding():
    for facts in (
        variables(DATABASE_URL="postgresql://u:p@db:5432/d", DB_HOST="db", DB_PORT="5432"),
        variables(DATABASE_URL="postgresql://u:p%40ss@db/d?sslmode=require"),
        variables(ALEMBIC_CMD="alembic -x a=b -c 'my alembic.ini' upgrade head"),
        variables(ALEMBIC_CMD="python -m app.seed"),
        with_replica("backend", restarts=1, started_at=moment(9_999)),
        with_replica("backend", restarts=9, started_at=moment(0)),
        sick(disks=(Disk("/", 1 << 40, 100 << 30), Disk("/tmp", 64 << 20, 60 << 20))),
        sick(healths=(look(State.STARTING, phase="migrating", attempt=1),)),
        sick(
            commands={"backend": "/bin/sh backend/entrypoint.sh"},
            healths=(look(phase="migrating"),),
        ),
    ):
        assert found(facts) == {}


def test_no_finding_shows_a_password():
    url = "postgresql://scout:sentinel@ss/w:rd@db:1/d"
    for name, text in (
        ("DATABASE_URL", url),
        ("DATABASE_URL", "postgresql://scout:sentinel@db:5433/d"),
        ("ALEMBIC_CMD", "alembic -x pw=sentinel 'upgrade"),
        ("ALEMBIC_CMD", "x --pw sentinel ; y"),
    ):
        said = found(but(variables(**{name: text, "DB_HOST": "x"}), missing=(name,)))
        assert said
        assert "sentinel" not in str(said)


def test_a_service_that_users_have_added_is_missed_too():
    added = sick(expected_services=(*SERVICES, "mailer"))
    assert found(added) == {"running": ["mailer is missing | inv up"]}


def test_an_unhealthy_backend_is_reported_whatever_the_main_service_is():
    ill = but(with_replica("backend", health="unhealthy"), service="frontend", healths=(look(),))
    assert list(found(ill)) == ["probes"]


def test_a_full_disk_is_reported_while_no_engine_answers():
    full = sick(disk=Disk("/", 100 << 30, 400 << 20), disks=DENIED, engine=DENIED, replicas=DENIED)
    assert "nearly full: /" in found(full)["disk"][0]


def test_another_project_gets_no_checks_of_ours():
    facts = sick(
        profile=DEFAULT_PROFILE,
        diagnosis=checks.diagnosis_of(DEFAULT_PROFILE),
        service="web",
        replicas=(replica("web", health="unhealthy"),),
        healths=(),
    )
    names = {each.check for each in checks.examine(facts)}
    assert names.isdisjoint({"schema", "heartbeats", "alembic-cmd", "entrypoint", "revisions"})
    assert {"engine", "ports", "disk", "running", "memory", "probes"} <= names
    assert list(found(facts)) == ["probes"]
    done = replica("job", status=Status.EXITED, exit_code=0, health=None)
    assert found(but(facts, replicas=(replica("web"), done))) == {}


@pytest.mark.parametrize(
    ("files", "told"),
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
def test_revisions_that_lead_nowhere(files, told):
    assert any(told in each for each in found(sick(revisions=REVISIONS | files))["revisions"])


def test_a_merge_of_two_heads_is_one_head():
    merged = REVISIONS | {
        "0003.py": "revision = '0003'\ndown_revision = '0001'\n",
        "0004.py": "revision = '0004'\ndown_revision = ('0002', '0003')\n",
    }
    assert found(sick(revisions=merged)) == {}
    assert checkout.read("x.py", merged["0004.py"]).parents == ("0002", "0003")


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
def test_the_line_that_tells_the_cause(lines, cause):
    assert causes.find_cause(lines) == cause


def test_the_last_words_of_what_has_ended_count_whatever_they_are():
    assert causes.find_cause(["one", "two", ""]) == ()
    assert causes.find_cause(["one", "two", ""], has_ended=True) == ("two",)


def test_the_program_of_a_command():
    assert commands.program("alembic upgrade head") == "alembic"
    assert commands.program("'my alembic' x") == "my alembic"
    assert commands.program("") == commands.program("'") == ""


def test_what_df_prints():
    said = "Filesystem 1024-blocks Used Available Capacity Mounted on\noverlay 1000 100 850 11% /\n"
    assert read_df("x", said) == Disk("x", 1000 * 1024, 850 * 1024)


# On the screen


CHECKUPS = [
    CheckResult("engine", (Finding("a " * 50, ("b " * 50,), "c " * 50),)),
    CheckResult("env"),
    CheckResult("disk"),
    CheckResult("clock", skipped="the local runtime needs no Docker"),
    CheckResult("compose", skipped="the local runtime needs no Docker"),
]


def shown(width, **more):
    console = Console(file=io.StringIO(), width=width, **more)
    findings_text(console, CHECKUPS, "local", 0.25)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_problems_come_first_and_nothing_is_wider_than_the_terminal(width):
    text = shown(width, force_terminal=True, color_system=None)
    assert text.startswith("✗ a a")
    assert "\n→ c c" in text
    assert "1 problem (5 checks in 0.2 s, local)" in text
    assert "✓ env" in text
    assert "clock, compose: the local runtime needs no Docker" in text.replace("\n  ", " ")
    assert max(map(len, text.splitlines())) <= width
    # What goes on in a second line is indented.
    assert all(line[:1] in "✗→ ✓-1" for line in text.splitlines() if line)


def test_without_a_terminal_each_is_one_line():
    lines = shown(10_000).splitlines()
    assert [line[:3] for line in lines] == ["✗ a", "  b", "→ c", "", "1 p", "✓ e", "- c"]


def test_every_check_stands_in_the_readme():
    readme = (ROOT / "README.md").read_text("utf-8")
    assert [check.name for check in DIAGNOSIS.checks if f"`{check.name}`" not in readme] == []
