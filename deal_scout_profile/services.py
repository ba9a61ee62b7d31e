"""Checks of the backend, the worker and beat, and the facts that they need."""

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
from invoke_stack.judge.checks.services import health_findings, remedy, unhealthy_services
from invoke_stack.model import Finding, Health, LogLine, State
from invoke_stack.profile import MainService
from invoke_stack.profile.facts import Facts, Skipped

HEARTBEATS = ("worker", "beat")
# By service: how long a task or request may take.
MAX_WORK_SECONDS = {"worker": 60, "backend": 10}
_SHELLS = ("sh", "bash", "dash", "ash", "zsh", "ksh", "busybox")

REMEDIES = {
    "password authentication failed": "restore the previous POSTGRES_PASSWORD in .env, then: inv up",
    "could not translate host name": "correct DB_HOST or DATABASE_URL in .env, then: inv up",
    "Multiple head revisions": "alembic merge heads -m join --rev-id NAME, then: inv up --build",
    "ALEMBIC_CMD": "set ALEMBIC_CMD=alembic upgrade head in .env, then: inv up",
    "cannot reach the database": "inv restart postgres",
    "Can't locate revision": "inv up from the matching version of the code, or: inv restore FILE",
}


def heartbeats(facts: Facts) -> Iterator[Finding]:
    """Find workers and beats that send no heartbeats."""
    for replica in facts.replicas.result():
        if replica.service in HEARTBEATS and replica.health == "unhealthy":
            output = facts.output_of(replica.service)
            evidence = (replica.reason, *find_cause(output, has_ended=not replica.running))
            what = f"{replica.replica} sends no heartbeat"
            yield Finding(what, tuple(filter(None, evidence)), f"inv restart {replica.service}")


def probes(facts: Facts) -> Iterator[Finding]:
    """Find unhealthy services other than the main service, worker and beat (checked elsewhere)."""
    return unhealthy_services(facts, excluded=(*HEARTBEATS, facts.service))


def health(facts: Facts) -> Iterator[Finding]:
    """Find backends that do not answer, lack a dependency, or keep retrying a step of the start."""
    healths = facts.healths.result()
    if not healths:
        raise Skipped(f"{facts.service} is not running")
    for health in healths:
        if health.state is State.UNHEALTHY and "db" in health.body:
            yield from _dependencies(facts, health)
        elif health.state is State.STARTING and int(health.body.get("attempt") or 1) > 2:
            name = health.replica or health.service
            phase, attempt = health.body.get("phase"), health.body["attempt"]
            evidence = find_cause(facts.output_of(health.service))
            what = f"{name} is still starting: {phase}, attempt {attempt}"
            yield Finding(what, evidence, remedy(facts, health.service, " ".join(evidence)))
        else:
            yield from health_findings(facts, health)


@dataclass(frozen=True)
class _Dependency:
    """A service that the backend needs."""

    title: str
    service: str
    url: str  # the variable with its address
    host: str  # the variable with its host alone
    lines: re.Pattern[str]  # log lines that may explain why it is unavailable


_DEPENDENCIES = {
    "db": _Dependency(
        "the database",
        "postgres",
        "DATABASE_URL",
        "DB_HOST",
        re.compile(
            r"postgres|psycopg2|database|password|FATAL|PANIC|server|translate host|connect", re.I
        ),
    ),
    "redis": _Dependency(
        "Redis",
        "redis",
        "REDIS_URL",
        "REDIS_HOST",
        re.compile(r"redis|valkey|broker|kombu", re.I),
    ),
}


def _dependencies(facts: Facts, health: Health) -> Iterator[Finding]:
    for key, dependency in _DEPENDENCIES.items():
        if not health.body.get(key) and not _is_reported_elsewhere(facts, dependency.service):
            evidence = find_cause(facts.output_of(health.service), about=dependency.lines)
            what = f"{health.replica or health.service} cannot reach {dependency.title}"
            yield _unreachable(facts, what, dependency, evidence)


def _is_reported_elsewhere(facts: Facts, service: str) -> bool:
    """Return True if another check reports the problem of a dependency."""
    replicas = facts.replicas_of(service)
    return not any(replica.running and replica.health != "unhealthy" for replica in replicas)


def _unreachable(
    facts: Facts, what: str, dependency: _Dependency, evidence: tuple[str, ...]
) -> Finding:
    if "password" in " ".join(evidence):
        return Finding(what, evidence, remedy(facts, facts.service, " ".join(evidence)))
    values, service = facts.variables.values, dependency.service
    has_url = bool(values.get(dependency.url))
    is_elsewhere = has_url or values.get(dependency.host) not in (None, "", service)
    if is_elsewhere and facts.in_containers:
        name = dependency.url if has_url else dependency.host
        source = f"its address is set by {name}"
        return Finding(what, (source, *evidence), f"correct {name} in .env, then: inv up")
    state = f"{service} is running, but does not answer"
    return Finding(what, (state, *evidence), f"inv restart {service}")


@dataclass(frozen=True)
class FailingMigrations:
    """Migrations that failed at the last boot and are being retried."""

    cause: str
    next_attempt: datetime | None  # None if unknown


# The phase keeps its outcome; the state changes once a background attempt has succeeded.
_LAST_STATE = 'sed -n s/^migrations=//p "${RUN_DIR:-/tmp}/boot" | tail -n 1'
# The log shows a cause only once, maybe a day ago; the entrypoint keeps it in a file.
_LAST_CAUSE = 'cat "${RUN_DIR:-/tmp}/migration-cause"'


def failing_migrations(backend: MainService) -> FailingMigrations | None:
    """Return why the migrations keep failing; None if they do not."""
    phases = [phase for body in backend.answers("/overview") for phase in body.get("phases") or ()]
    if any(phase["name"] == "migrations" and phase["outcome"] == "failed" for phase in phases):
        output = backend.execute("sh", "-c", f"{_LAST_STATE}; {_LAST_CAUSE}")
        state, _, reason = output.partition("\n")
        if state == "failed":
            return FailingMigrations(
                reason.strip(), next_attempt(backend.last_lines(), datetime.now(UTC))
            )
    return None


_NEXT_ATTEMPT = re.compile(
    r"^\[entrypoint\] Attempt \d+ in the background failed .*Next in ([\d.]+)s"
)


def next_attempt(lines: Sequence[LogLine], now: datetime) -> datetime | None:
    """Return the time of the next background attempt; None during an attempt or if unknown."""
    for line in reversed(lines):
        if match := _NEXT_ATTEMPT.search(line.text):
            attempt_at = timestamps.parse(line.time) + timedelta(seconds=float(match[1]))
            return attempt_at if attempt_at > now else None
    return None


def remembered_causes(backend: MainService, healths: Sequence[Health]) -> list[str]:
    """Return the cause of failed migrations that the entrypoint has kept, as a log line."""
    if any(health.body.get("migrations") == "failed" for health in healths):
        with suppress(StackError):
            return [f"[entrypoint] Cause: {backend.execute('sh', '-c', _LAST_CAUSE).strip()}"]
    return []


def schema(facts: Facts) -> Iterator[Finding]:
    """Find a schema that does not match the code, and migrations that keep failing."""
    healths, schema = facts.healths.result(), facts.schema.result()
    if any(health.body.get("db") is False for health in healths):
        raise Skipped("the database does not answer")
    states = {str(health.body.get("migrations")) for health in healths}
    fact = facts.extra["failing"]
    still_failing: FailingMigrations | None = None if fact.exception() else fact.result()
    if "failed" in states:
        evidence = find_cause(facts.output_of(facts.service))
        what = "the migrations failed and are being retried"
        yield _failed(facts, what, evidence, still_failing)
    elif schema.pending:
        current = schema.current or "an empty database"
        pending = f"pending: {', '.join(schema.pending)}"
        what = f"the schema is behind: {current}, the code needs {schema.head}"
        yield Finding(what, (pending,), "inv migrate")
    elif "ahead" in states:
        positions = f"it is at {schema.current}, the code needs {schema.head}"
        hint = "inv up from the matching version of the code, or: inv restore FILE"
        yield Finding("the schema is ahead of the code", (positions,), hint)
    elif still_failing:
        what = "the migrations keep failing, although the schema is current"
        yield _failed(facts, what, (still_failing.cause,), still_failing)
    elif schema.head is None:
        raise Skipped(f"{facts.service} does not report its schema")


def _failed(
    facts: Facts, what: str, evidence: tuple[str, ...], still_failing: FailingMigrations | None
) -> Finding:
    text = remedy(facts, facts.service, " ".join(evidence))
    if still_failing and still_failing.next_attempt:
        seconds = max(0.0, (still_failing.next_attempt - facts.now).total_seconds())
        evidence = (*evidence, f"as of the last attempt; the next one is in {seconds:.0f} s")
        if not facts.in_containers:  # the backend reads the checkout itself
            text = f"if the cause is already fixed, wait or run: inv migrate; otherwise {text}"
    return Finding(what, evidence, text)


def signals(facts: Facts) -> Iterator[Finding]:
    """Find services that never receive SIGTERM because they run below a shell."""
    healths = facts.healths.result()
    booting = {health.replica for health in healths if health.body.get("phase") != "serving"}
    for replica in facts.replicas.result():
        command = facts.commands.result().get(replica.replica, "")
        is_ours = replica.service in (facts.service, *HEARTBEATS)
        if is_ours and replica.replica not in booting and _is_shell(command):
            is_main = replica.service == facts.service
            compose = f"the `command` of {replica.service} in the Compose file"
            source = "UVICORN_CMD in .env" if is_main else compose
            yield Finding(
                f"{replica.replica} never receives SIGTERM: its main process is a shell",
                (f"its main process: {command[:120]}", "it is killed after its grace period"),
                f"put `exec` before the program that the shell starts, in {source}, then: inv up",
            )


def _is_shell(command: str) -> bool:
    try:
        arguments = shlex.split(command)
    except ValueError:
        arguments = command.split()
    return bool(arguments) and arguments[0].rpartition("/")[2] in _SHELLS


def grace(facts: Facts) -> Iterator[Finding]:
    """Find services that are killed before they can finish their work."""
    replicas = facts.replicas.result()
    periods = {r.service: r.grace for r in replicas if r.grace is not None}
    if not periods:
        raise Skipped("the grace periods are unknown")
    for service, work in MAX_WORK_SECONDS.items():
        if periods.get(service, work) < work:
            what = f"the grace period of {service} is too short"
            evidence = f"its work may take {work} s; it is killed after {periods[service]} s"
            setting = f"stop_grace_period: {work + 10}s"
            yield Finding(what, (evidence,), f"set {setting} in the Compose file, then: inv up")
