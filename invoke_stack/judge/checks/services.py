"""Checks of the services: whether they run, stay up, and do their work."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from invoke_stack.errors import StackError
from invoke_stack.judge.causes import find_cause
from invoke_stack.model import OUT_OF_MEMORY, Finding, Health, Replica, State, Status
from invoke_stack.profile.facts import Facts, NoAnswer, Skipped

LOOP = 3  # restarts, from which on it is called a loop
LOOP_WITHIN = 600.0  # seconds; a replica that is up for longer is out of it
_PORT_TAKEN = ("port is already allocated", "address already in use", "ports are not available")


def running(facts: Facts) -> Iterator[Finding]:
    """The stack is up, and every service of it runs."""
    error = facts.replicas.exception()
    if isinstance(error, StackError):
        docker_is_away = facts.in_containers and facts.engine.exception()
        if docker_is_away or isinstance(error, NoAnswer):
            raise error
        yield Finding(error.message, (), error.hint or "inv up")
        return
    replicas = facts.replicas.result()
    present = {replica.service for replica in replicas}
    wanted = () if facts.expected_services.exception() else facts.expected_services.result()
    if (services := present.union(wanted)) and facts.service not in services:
        what = f"there is no service {facts.service!r}, which stack.service names"
        listed = f"there are: {', '.join(sorted(services))}"
        yield Finding(what, (listed,), "correct it in invoke.yaml or INVOKE_STACK_SERVICE")
    for service in wanted if facts.profile.services else ():
        if service not in present:
            yield Finding(f"{service} is absent", _consequence(facts, service), "inv up")
    always_on = (*facts.profile.services, facts.service)
    for replica in replicas:
        if replica.running or _ran_out(replica) or _loops(replica, facts):
            continue
        if any(sign in replica.reason for sign in _PORT_TAKEN) and _lacks_port(facts, replica):
            continue  # another check tells by whom
        if replica.exit_code == 0 and replica.service not in always_on:
            continue  # a job that is done
        evidence = (replica.reason, *_cause(facts, replica), *_consequence(facts, replica.service))
        told = tuple(dict.fromkeys(filter(None, evidence)))
        yield Finding(f"{replica.replica} does not run ({replica.status})", told, "inv up")


def _lacks_port(facts: Facts, replica: Replica) -> bool:
    """Whether somebody else still has a port of it."""
    if facts.ports.exception() or facts.holders.exception():
        return False
    ports = facts.ports.result().get(replica.service, ())
    return any(port in facts.holders.result() for port in ports)


def restarts(facts: Facts) -> Iterator[Finding]:
    """No service is restarted over and over."""
    for replica in facts.replicas.result():
        if _loops(replica, facts) and not _ran_out(replica):
            times = f"{replica.restarts} times" if replica.restarts else "again"
            told = (replica.reason, *_cause(facts, replica))
            yield Finding(
                f"{replica.replica} keeps ending: restarted {times}",
                tuple(dict.fromkeys(filter(None, told))),
                remedy(facts, replica.service, " ".join(told)),
            )


def _loops(replica: Replica, facts: Facts) -> bool:
    if replica.status is Status.RESTARTING:
        return True
    if replica.restarts < LOOP or replica.started_at is None:
        return False
    return (facts.now - replica.started_at).total_seconds() < LOOP_WITHIN


def memory(facts: Facts) -> Iterator[Finding]:
    """No service has been killed because it ran out of memory."""
    for replica in facts.replicas.result():
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
    """The health check of every service succeeds."""
    return unhealthy(facts, ())


def unhealthy(facts: Facts, reported: Collection[str]) -> Iterator[Finding]:
    """Find the services whose health check fails, but for those that another check reports."""
    for replica in facts.replicas.result():
        if replica.service in reported or replica.health != "unhealthy" or _ran_out(replica):
            continue
        evidence = (
            f"its probe: {replica.reason or 'no output'}",
            *_cause(facts, replica),
            *_consequence(facts, replica.service),
        )
        what = f"{replica.replica} is unhealthy"
        yield Finding(what, evidence, f"inv restart {replica.service}")


def health(facts: Facts) -> Iterator[Finding]:
    """The main service is healthy."""
    looks = facts.healths.result()
    if not looks:
        raise Skipped(f"{facts.service} does not run")
    for look in looks:
        yield from of_look(facts, look)


def of_look(facts: Facts, look: Health) -> Iterator[Finding]:
    """Find what one look at the main service shows."""
    name = look.replica or look.service
    told = find_cause(facts.output_of(look.service))
    match look.state:
        case State.UNREACHABLE:
            what = f"{name} does not answer"
            yield Finding(what, (look.reason, *told), f"inv restart {look.service}")
        case State.UNKNOWN:
            yield Finding(f"the health of {name} is unknown", (look.reason,), _ASKABLE)
        case State.UNHEALTHY:
            what = f"{name} is unhealthy"
            yield Finding(what, (look.reason, *told), f"see: inv logs {look.service}")
        case _:
            pass


_ASKABLE = (
    "install wget, curl or python in its image, or set stack.ready to what can be asked from here"
)


def configuration(facts: Facts) -> Iterator[Finding]:
    """What runs is what `up` would start now."""
    if stale := facts.stale.result():
        evidence = (stale, "a restart does not take that over")
        yield Finding(f"{facts.service} is out of date", evidence, "inv up")


def _cause(facts: Facts, replica: Replica) -> tuple[str, ...]:
    return find_cause(facts.output_of(replica.service), has_ended=not replica.running)


def _consequence(facts: Facts, service: str) -> tuple[str, ...]:
    """What it means for the main service that one of its dependencies is in trouble."""
    key = facts.profile.dependencies.get(service)
    looks = () if facts.healths.exception() else facts.healths.result()
    if key and any(look.body.get(key) is False for look in looks):
        return (f"{facts.service} gets no answer from it",)
    return ()


def remedy(facts: Facts, service: str, output: str) -> str:
    """Return what to do about what a service in trouble has printed."""
    for sign, known_remedy in facts.diagnosis.remedies.items():
        if sign in output:
            return without_build(facts, known_remedy)
    more = f"more of it: inv logs {service} --tail 200"
    return without_build(facts, f"mend what it says, then: inv up --build; {more}")


def without_build(facts: Facts, text: str) -> str:
    """Return a remedy that names `inv up --build` as it is where no images are built."""
    return text if facts.in_containers else text.replace(" --build", "")
