"""Checks of the services: whether they run, stay up, and do their work."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from invoke_stack.judge.causes import ABOUT, cause
from invoke_stack.judge.checks.facts import Facts, Failing, NotKnown, Unknown, built, known
from invoke_stack.model import OUT_OF_MEMORY, Finding, Replica, State, Status

LOOP = 3  # restarts, from which on it is called a loop
LOOP_WITHIN = 600.0  # seconds; a replica that is up for longer is out of it
HEARTBEATS = ("worker", "beat")
WORK = {"worker": 60, "backend": 10}  # seconds that what they have begun may take
_SHELLS = ("sh", "bash", "dash", "ash", "zsh", "ksh", "busybox")
_PORT_TAKEN = ("port is already allocated", "address already in use", "ports are not available")


def running(facts: Facts) -> Iterator[Finding]:
    """The stack is up, and every service of it runs."""
    if isinstance(facts.replicas, Unknown):
        docker_is_away = facts.runtime != "local" and isinstance(facts.engine, Unknown)
        if docker_is_away or facts.replicas.late:
            raise NotKnown(facts.replicas.why)
        yield Finding(facts.replicas.why, (), facts.replicas.hint or "inv up")
        return
    there = {replica.service for replica in facts.replicas}
    known_services = there.union(() if isinstance(facts.wanted, Unknown) else facts.wanted)
    if known_services and facts.service not in known_services:
        what = f"there is no service {facts.service!r}, which stack.service names"
        listed = f"there are: {', '.join(sorted(known_services))}"
        yield Finding(what, (listed,), "correct it in invoke.yaml or INVOKE_STACK_SERVICE")
    for service in facts.wanted if facts.own and not isinstance(facts.wanted, Unknown) else ():
        if service not in there:
            yield Finding(f"{service} is absent", _consequence(facts, service), "inv up")
    for replica in facts.replicas:
        if replica.running or _ran_out(replica) or _loops(replica, facts):
            continue
        if any(sign in replica.reason for sign in _PORT_TAKEN) and _lacks_port(facts, replica):
            continue  # another check tells by whom
        if replica.exit_code == 0 and facts.service != replica.service and not facts.own:
            continue  # somebody else's job that is done
        evidence = (replica.reason, *_cause(facts, replica), *_consequence(facts, replica.service))
        told = tuple(dict.fromkeys(filter(None, evidence)))
        yield Finding(f"{replica.replica} does not run ({replica.status})", told, "inv up")


def _lacks_port(facts: Facts, replica: Replica) -> bool:
    """Whether somebody else still has a port of it."""
    if isinstance(facts.ports, Unknown) or isinstance(facts.holders, Unknown):
        return False
    return any(port in facts.holders for port in facts.ports.get(replica.service, ()))


def restarts(facts: Facts) -> Iterator[Finding]:
    """No service is restarted over and over."""
    for replica in known(facts.replicas):
        if _loops(replica, facts) and not _ran_out(replica):
            times = f"{replica.restarts} times" if replica.restarts else "again"
            told = (replica.reason, *_cause(facts, replica))
            yield Finding(
                f"{replica.replica} keeps ending: restarted {times}",
                tuple(dict.fromkeys(filter(None, told))),
                _mend(facts, replica.service, " ".join(told)),
            )


def _loops(replica: Replica, facts: Facts) -> bool:
    if replica.status is Status.RESTARTING:
        return True
    if replica.restarts < LOOP or replica.started_at is None:
        return False
    return (facts.now - replica.started_at).total_seconds() < LOOP_WITHIN


def memory(facts: Facts) -> Iterator[Finding]:
    """No service has been killed because it ran out of memory."""
    for replica in known(facts.replicas):
        if _ran_out(replica):
            evidence = [replica.reason]
            if replica.restarts:
                evidence.append(f"restarted {replica.restarts} times since it was created")
            remedy = f"raise mem_limit of {replica.service} in the Compose file, then: inv up"
            what = f"{replica.replica} was killed for memory"
            yield Finding(what, tuple(evidence), remedy)


def _ran_out(replica: Replica) -> bool:
    return OUT_OF_MEMORY in replica.reason


def probes(facts: Facts) -> Iterator[Finding]:
    """Every service's probe is content, where it has one."""
    for replica in known(facts.replicas):
        told_elsewhere = facts.own and replica.service in (*HEARTBEATS, facts.service)
        if replica.health == "unhealthy" and not told_elsewhere and not _ran_out(replica):
            evidence = (
                f"its probe: {replica.reason or 'no output'}",
                *_cause(facts, replica),
                *_consequence(facts, replica.service),
            )
            yield Finding(
                f"{replica.replica} is unhealthy", evidence, f"inv restart {replica.service}"
            )


def heartbeats(facts: Facts) -> Iterator[Finding]:
    """The worker and beat show signs of life."""
    for replica in known(facts.replicas):
        if replica.service in HEARTBEATS and replica.health == "unhealthy":
            evidence = (replica.reason, *_cause(facts, replica))
            what = f"{replica.replica} is silent"
            yield Finding(what, tuple(filter(None, evidence)), f"inv restart {replica.service}")


def health(facts: Facts) -> Iterator[Finding]:
    """The service that matters answers, and has what it needs."""
    looks = known(facts.looks)
    if not looks:
        raise NotKnown(f"{facts.service} does not run")
    for look in looks:
        name = look.replica or look.service
        told = cause(facts.last_words(look.service))
        match look.state:
            case State.UNREACHABLE:
                what = f"{name} does not answer"
                yield Finding(what, (look.problem, *told), f"inv restart {look.service}")
            case State.UNKNOWN:
                yield Finding(f"the health of {name} is unknown", (look.problem,), _ASKABLE)
            case State.UNHEALTHY if "db" not in look.body:
                what = f"{name} is unhealthy"
                yield Finding(what, (look.problem, *told), f"see: inv logs {look.service}")
            case State.UNHEALTHY:
                for key, title, service in _DEPENDENCIES:
                    if not look.body.get(key) and not _is_sick(facts, service):
                        told = cause(facts.last_words(look.service), about=ABOUT[key])
                        yield _unreachable(facts, f"{name} gets no answer from {title}", key, told)
            case State.STARTING if int(look.body.get("attempt") or 1) > 2:
                body = look.body
                what = f"{name} is still starting: {body.get('phase')}, attempt {body['attempt']}"
                yield Finding(what, told, _mend(facts, look.service, " ".join(told)))
            case _:
                pass


_ASKABLE = (
    "install wget, curl or python in its image, or set stack.ready to what can be asked from here"
)
_DEPENDENCIES = (("db", "the database", "postgres"), ("redis", "Redis", "redis"))


def _is_sick(facts: Facts, service: str) -> bool:
    """Whether another check tells what is wrong with a dependency."""
    replicas = facts.replicas_of(service)
    return not any(replica.running and replica.health != "unhealthy" for replica in replicas)


def _unreachable(facts: Facts, what: str, key: str, told: tuple[str, ...]) -> Finding:
    if "password" in " ".join(told):
        return Finding(what, told, _mend(facts, facts.service, " ".join(told)))
    url, host, service = _ADDRESSES[key]
    variables = facts.settings.variables
    elsewhere = variables.get(url) or variables.get(host) not in (None, "", service)
    if elsewhere and facts.runtime != "local":
        name = url if variables.get(url) else host
        return Finding(what, (f"{name} leads there", *told), f"correct {name} in .env: inv up")
    return Finding(what, (f"{service} runs, and does not respond", *told), f"inv restart {service}")


_ADDRESSES = {
    "db": ("DATABASE_URL", "DB_HOST", "postgres"),
    "redis": ("REDIS_URL", "REDIS_HOST", "redis"),
}


def schema(facts: Facts) -> Iterator[Finding]:
    """The database's schema is that of the code."""
    looks, schema = known(facts.looks), known(facts.schema)
    if any(look.body.get("db") is False for look in looks):
        raise NotKnown("the database does not answer")
    states = {str(look.body.get("migrations")) for look in looks}
    told = cause(facts.last_words(facts.service))
    if "failed" in states:
        yield _failing(facts, "the migrations failed; they go on being tried", told)
    elif schema.pending:
        current = schema.current or "an empty database"
        evidence = (f"pending: {', '.join(schema.pending)}",)
        what = f"the schema is behind: {current}, the code needs {schema.head}"
        yield Finding(what, evidence, "inv migrate")
    elif "ahead" in states:
        evidence = (f"it is at {schema.current}, the code's newest is {schema.head}",)
        remedy = "inv up with the code that it belongs to, or: inv restore FILE"
        yield Finding("the schema is ahead of the code", evidence, remedy)
    elif isinstance(facts.failing, Failing):
        what = "the migrations go on failing, though the schema is current"
        yield _failing(facts, what, (facts.failing.cause,))
    elif schema.head is None:
        raise NotKnown(f"{facts.service} does not tell")


def _failing(facts: Facts, what: str, told: tuple[str, ...]) -> Finding:
    remedy = _mend(facts, facts.service, " ".join(told))
    again = facts.failing.again if isinstance(facts.failing, Failing) else None
    if again:
        seconds = max(0.0, (again - facts.now).total_seconds())
        told = (*told, f"so it was at the last attempt; the next comes in {seconds:.0f} s")
        if facts.runtime == "local":  # it reads the checkout itself
            remedy = f"wait, or inv migrate, if that is mended; else {remedy}"
    return Finding(what, told, remedy)


def configuration(facts: Facts) -> Iterator[Finding]:
    """What runs is what `up` would start now."""
    if stale := known(facts.stale):
        evidence = (stale, "a restart does not take that over")
        yield Finding(f"{facts.service} is out of date", evidence, "inv up")


def signals(facts: Facts) -> Iterator[Finding]:
    """No shell stands between a service and the signal to stop."""
    looks = known(facts.looks)
    booting = {look.replica for look in looks if look.body.get("phase") != "serving"}
    for replica in known(facts.replicas):
        command = known(facts.commands).get(replica.replica, "")
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
    times = {each.service: each.grace for each in known(facts.replicas) if each.grace is not None}
    if not times:
        raise NotKnown("no grace periods are told")
    for service, work in WORK.items():
        if times.get(service, work) < work:
            evidence = (f"what it does may take {work} s; after {times[service]} s it is killed",)
            remedy = f"stop_grace_period: {work + 10}s for it in the Compose file, then: inv up"
            yield Finding(f"the grace period of {service} is too short", evidence, remedy)


def _cause(facts: Facts, replica: Replica) -> tuple[str, ...]:
    return cause(facts.last_words(replica.service), has_ended=not replica.running)


def _consequence(facts: Facts, service: str) -> tuple[str, ...]:
    """What it means for the backend that one of its dependencies is in trouble."""
    looks = () if isinstance(facts.looks, Unknown) else facts.looks
    keys = [key for key, _, needed in _DEPENDENCIES if needed == service]
    if any(look.body.get(key) is False for look in looks for key in keys):
        return (f"{facts.service} gets no answer from it",)
    return ()


_MENDS = (
    ("password authentication failed", "put the former POSTGRES_PASSWORD back into .env: inv up"),
    ("could not translate host name", "correct DB_HOST or DATABASE_URL in .env, then: inv up"),
    ("Multiple head revisions", "alembic merge heads -m join --rev-id NAME, then: inv up --build"),
    ("ALEMBIC_CMD", "set ALEMBIC_CMD=alembic upgrade head in .env, then: inv up"),
    ("cannot reach the database", "inv restart postgres"),
    ("Can't locate revision", "inv up with the code that it belongs to, or: inv restore FILE"),
)


def _mend(facts: Facts, service: str, said: str) -> str:
    for sign, remedy in _MENDS:
        if sign in said:
            return built(facts, remedy)
    more = f"more of it: inv logs {service} --tail 200"
    return built(facts, f"mend what it says, then: inv up --build; {more}")
