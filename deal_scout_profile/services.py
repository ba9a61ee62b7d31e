"""Checks of the backend, the worker and beat, and what they need to know."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from invoke_stack import timestamps
from invoke_stack.errors import StackError
from invoke_stack.judge.causes import find_cause
from invoke_stack.judge.checks.services import of_look, remedy, unhealthy
from invoke_stack.model import Finding, Health, LogLine, State
from invoke_stack.profile import MainService
from invoke_stack.profile.facts import Facts, Skipped

HEARTBEATS = ("worker", "beat")
WORK = {"worker": 60, "backend": 10}  # by service: seconds that a started task may take
_SHELLS = ("sh", "bash", "dash", "ash", "zsh", "ksh", "busybox")

REMEDIES = {
    "password authentication failed": "put the former POSTGRES_PASSWORD back into .env: inv up",
    "could not translate host name": "correct DB_HOST or DATABASE_URL in .env, then: inv up",
    "Multiple head revisions": "alembic merge heads -m join --rev-id NAME, then: inv up --build",
    "ALEMBIC_CMD": "set ALEMBIC_CMD=alembic upgrade head in .env, then: inv up",
    "cannot reach the database": "inv restart postgres",
    "Can't locate revision": "inv up with the code that it belongs to, or: inv restore FILE",
}


def heartbeats(facts: Facts) -> Iterator[Finding]:
    """The worker and beat show signs of life."""
    for replica in facts.replicas.result():
        if replica.service in HEARTBEATS and replica.health == "unhealthy":
            output = facts.output_of(replica.service)
            evidence = (replica.reason, *find_cause(output, has_ended=not replica.running))
            what = f"{replica.replica} is silent"
            yield Finding(what, tuple(filter(None, evidence)), f"inv restart {replica.service}")


def probes(facts: Facts) -> Iterator[Finding]:
    """The health checks succeed of those services that no check below reports."""
    return unhealthy(facts, reported=(*HEARTBEATS, facts.service))


def health(facts: Facts) -> Iterator[Finding]:
    """The backend answers, and has what it needs."""
    looks = facts.healths.result()
    if not looks:
        raise Skipped(f"{facts.service} does not run")
    for look in looks:
        if look.state is State.UNHEALTHY and "db" in look.body:
            yield from _dependencies(facts, look)
        elif look.state is State.STARTING and int(look.body.get("attempt") or 1) > 2:
            phase, attempt = look.body.get("phase"), look.body["attempt"]
            evidence = find_cause(facts.output_of(look.service))
            what = f"{look.replica or look.service} is still starting: {phase}, attempt {attempt}"
            yield Finding(what, evidence, remedy(facts, look.service, " ".join(evidence)))
        else:
            yield from of_look(facts, look)


@dataclass(frozen=True)
class _Dependency:
    """What the backend cannot do without."""

    title: str
    service: str
    url: str  # the variable with its address
    host: str  # the variable with its host alone
    lines: re.Pattern[str]  # log lines that may explain why it does not answer


_NEEDED = {
    "db": _Dependency(
        *("the database", "postgres", "DATABASE_URL", "DB_HOST"),
        re.compile(
            r"postgres|psycopg2|database|password|FATAL|PANIC|server|translate host|connect", re.I
        ),
    ),
    "redis": _Dependency(
        *("Redis", "redis", "REDIS_URL", "REDIS_HOST"),
        re.compile(r"redis|valkey|broker|kombu", re.I),
    ),
}


def _dependencies(facts: Facts, look: Health) -> Iterator[Finding]:
    for key, needed in _NEEDED.items():
        if not look.body.get(key) and not _is_in_trouble(facts, needed.service):
            evidence = find_cause(facts.output_of(look.service), about=needed.lines)
            what = f"{look.replica or look.service} gets no answer from {needed.title}"
            yield _unreachable(facts, what, needed, evidence)


def _is_in_trouble(facts: Facts, service: str) -> bool:
    """Return True if another check reports what is wrong with a dependency."""
    replicas = facts.replicas_of(service)
    return not any(replica.running and replica.health != "unhealthy" for replica in replicas)


def _unreachable(
    facts: Facts, what: str, needed: _Dependency, evidence: tuple[str, ...]
) -> Finding:
    if "password" in " ".join(evidence):
        return Finding(what, evidence, remedy(facts, facts.service, " ".join(evidence)))
    variables, service = facts.variables.values, needed.service
    elsewhere = variables.get(needed.url) or variables.get(needed.host) not in (None, "", service)
    if elsewhere and facts.in_containers:
        name = needed.url if variables.get(needed.url) else needed.host
        leads = f"{name} leads there"
        return Finding(what, (leads, *evidence), f"correct {name} in .env: inv up")
    silent = f"{service} runs, and does not respond"
    return Finding(what, (silent, *evidence), f"inv restart {service}")


@dataclass(frozen=True)
class Failing:
    """Migrations that failed at the last boot, and are still being retried."""

    cause: str
    again: datetime | None  # when they are tried next, where that is known


# The phase keeps its outcome; the state changes once the background has succeeded.
_LAST_STATE = 'sed -n s/^migrations=//p "${RUN_DIR:-/tmp}/boot" | tail -n 1'
# The log names a cause once, which may be a day ago; the entrypoint keeps it in a file.
_LAST_CAUSE = 'cat "${RUN_DIR:-/tmp}/migration-cause"'


def failing(backend: MainService) -> Failing | None:
    """Return what keeps the migrations from being applied; None if nothing does."""
    phases = [each for body in backend.answers("/overview") for each in body.get("phases") or ()]
    if any(each["name"] == "migrations" and each["outcome"] == "failed" for each in phases):
        output = backend.execute("sh", "-c", f"{_LAST_STATE}; {_LAST_CAUSE}")
        state, _, reason = output.partition("\n")
        if state == "failed":
            return Failing(reason.strip(), next_attempt(backend.last_lines(), datetime.now(UTC)))
    return None


_NEXT = re.compile(r"^\[entrypoint\] Attempt \d+ in the background failed .*Next in ([\d.]+)s")


def next_attempt(lines: Sequence[LogLine], now: datetime) -> datetime | None:
    """Return when the background tries the migrations next; None while it does, or if unknown."""
    for line in reversed(lines):
        if match := _NEXT.search(line.text):
            again = timestamps.parse(line.time) + timedelta(seconds=float(match[1]))
            return again if again > now else None
    return None


def remembered_causes(backend: MainService, looks: Sequence[Health]) -> list[str]:
    """Return the line that explains failed migrations, as the entrypoint has kept it."""
    if any(look.body.get("migrations") == "failed" for look in looks):
        with suppress(StackError):
            return [f"[entrypoint] Cause: {backend.execute('sh', '-c', _LAST_CAUSE).strip()}"]
    return []


def schema(facts: Facts) -> Iterator[Finding]:
    """The database's schema is that of the code."""
    looks, schema = facts.healths.result(), facts.schema.result()
    if any(look.body.get("db") is False for look in looks):
        raise Skipped("the database does not answer")
    states = {str(look.body.get("migrations")) for look in looks}
    fact = facts.extra["failing"]
    still_failing: Failing | None = None if fact.exception() else fact.result()
    if "failed" in states:
        evidence = find_cause(facts.output_of(facts.service))
        what = "the migrations failed; they go on being tried"
        yield _failed(facts, what, evidence, still_failing)
    elif schema.pending:
        current = schema.current or "an empty database"
        pending = f"pending: {', '.join(schema.pending)}"
        what = f"the schema is behind: {current}, the code needs {schema.head}"
        yield Finding(what, (pending,), "inv migrate")
    elif "ahead" in states:
        positions = f"it is at {schema.current}, the code's newest is {schema.head}"
        older = "inv up with the code that it belongs to, or: inv restore FILE"
        yield Finding("the schema is ahead of the code", (positions,), older)
    elif still_failing:
        what = "the migrations go on failing, though the schema is current"
        yield _failed(facts, what, (still_failing.cause,), still_failing)
    elif schema.head is None:
        raise Skipped(f"{facts.service} does not tell")


def _failed(
    facts: Facts, what: str, evidence: tuple[str, ...], still_failing: Failing | None
) -> Finding:
    text = remedy(facts, facts.service, " ".join(evidence))
    if still_failing and still_failing.again:
        seconds = max(0.0, (still_failing.again - facts.now).total_seconds())
        next_one = f"so it was at the last attempt; the next comes in {seconds:.0f} s"
        evidence = (*evidence, next_one)
        if not facts.in_containers:  # the backend reads the checkout itself
            text = f"wait, or inv migrate, if that is mended; else {text}"
    return Finding(what, evidence, text)


def signals(facts: Facts) -> Iterator[Finding]:
    """No shell stands between a service and the signal to stop."""
    looks = facts.healths.result()
    booting = {look.replica for look in looks if look.body.get("phase") != "serving"}
    for replica in facts.replicas.result():
        command = facts.commands.result().get(replica.replica, "")
        is_ours = replica.service in (facts.service, *HEARTBEATS)
        if is_ours and replica.replica not in booting and _is_shell(command):
            where = "UVICORN_CMD in .env" if replica.service == facts.service else "its command"
            yield Finding(
                f"{replica.replica} does not hear the request to stop: it runs below a shell",
                (f"its main process: {command[:120]}", "it is killed when its grace is over"),
                f"put exec before the command in {where}, then: inv up",
            )


def _is_shell(command: str) -> bool:
    try:
        words = shlex.split(command)
    except ValueError:
        words = command.split()
    return bool(words) and words[0].rpartition("/")[2] in _SHELLS


def grace(facts: Facts) -> Iterator[Finding]:
    """A service has the time to end what it has begun before it is killed."""
    replicas = facts.replicas.result()
    times = {each.service: each.grace for each in replicas if each.grace is not None}
    if not times:
        raise Skipped("no grace periods are told")
    for service, work in WORK.items():
        if times.get(service, work) < work:
            what = f"the grace period of {service} is too short"
            evidence = f"what it does may take {work} s; after {times[service]} s it is killed"
            period = f"stop_grace_period: {work + 10}s"
            yield Finding(what, (evidence,), f"{period} for it in the Compose file, then: inv up")
