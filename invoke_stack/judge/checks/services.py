"""Checks of the services: do they run, stay up and pass their health checks?"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from invoke_stack.errors import StackError
from invoke_stack.judge.causes import find_cause
from invoke_stack.model import OUT_OF_MEMORY, Finding, Health, Replica, State, Status
from invoke_stack.profile.facts import Facts, NoAnswer, Skipped

LOOP = 3  # restarts from which on a service is in a restart loop
LOOP_WITHIN = 600.0  # seconds; a replica that is up for longer has left the loop
_PORT_TAKEN = ("port is already allocated", "address already in use", "ports are not available")
_HEALTH_HINT = (
    "install wget, curl or python in its image, or set stack.ready to a URL reachable from here"
)


def running(facts: Facts) -> Iterator[Finding]:
    """Find a stack that is not up, and services that are missing or not running."""
    error = facts.replicas.exception()
    if isinstance(error, StackError):
        engine_is_down = facts.in_containers and facts.engine.exception()
        if engine_is_down or isinstance(error, NoAnswer):
            raise error
        yield Finding(error.message, (), error.hint or "inv up")
        return
    replicas = facts.replicas.result()
    present = {replica.service for replica in replicas}
    expected = () if facts.expected_services.exception() else facts.expected_services.result()
    if (services := present.union(expected)) and facts.service not in services:
        what = f"unknown service {facts.service!r} in stack.service"
        listing = f"services: {', '.join(sorted(services))}"
        yield Finding(what, (listing,), "correct it in invoke.yaml or INVOKE_STACK_SERVICE")
    for service in expected if facts.profile.services else ():
        if service not in present:
            yield Finding(f"{service} is missing", _consequence(facts, service), "inv up")
    always_on = (*facts.profile.services, facts.service)
    for replica in replicas:
        if replica.running or _ran_out_of_memory(replica) or _is_looping(replica, facts):
            continue
        if any(sign in replica.reason for sign in _PORT_TAKEN) and _is_port_in_use(facts, replica):
            continue  # reported by `ports`
        if replica.exit_code == 0 and replica.service not in always_on:
            continue  # a finished one-shot service
        lines = (replica.reason, *_cause(facts, replica), *_consequence(facts, replica.service))
        evidence = tuple(dict.fromkeys(filter(None, lines)))
        yield Finding(f"{replica.replica} is not running ({replica.status})", evidence, "inv up")


def _is_port_in_use(facts: Facts, replica: Replica) -> bool:
    """Return True if another process still uses a port of the replica's service."""
    if facts.ports.exception() or facts.holders.exception():
        return False
    ports = facts.ports.result().get(replica.service, ())
    return any(port in facts.holders.result() for port in ports)


def restarts(facts: Facts) -> Iterator[Finding]:
    """Find services that are in a restart loop."""
    for replica in facts.replicas.result():
        if _is_looping(replica, facts) and not _ran_out_of_memory(replica):
            times = f"{replica.restarts} times" if replica.restarts else "again"
            lines = (replica.reason, *_cause(facts, replica))
            yield Finding(
                f"{replica.replica} keeps exiting: restarted {times}",
                tuple(dict.fromkeys(filter(None, lines))),
                remedy(facts, replica.service, " ".join(lines)),
            )


def _is_looping(replica: Replica, facts: Facts) -> bool:
    if replica.status is Status.RESTARTING:
        return True
    if replica.restarts < LOOP or replica.started_at is None:
        return False
    return (facts.now - replica.started_at).total_seconds() < LOOP_WITHIN


def memory(facts: Facts) -> Iterator[Finding]:
    """Find services that were killed because they ran out of memory."""
    for replica in facts.replicas.result():
        if _ran_out_of_memory(replica):
            evidence = [replica.reason]
            if replica.restarts:
                evidence.append(f"restarted {replica.restarts} times since it was created")
            hint = f"raise mem_limit of {replica.service} in the Compose file, then: inv up"
            what = f"{replica.replica} was killed: out of memory"
            yield Finding(what, tuple(evidence), hint)


def _ran_out_of_memory(replica: Replica) -> bool:
    return OUT_OF_MEMORY in replica.reason


def probes(facts: Facts) -> Iterator[Finding]:
    """Find services whose health check fails."""
    return unhealthy_services(facts, ())


def unhealthy_services(facts: Facts, excluded: Collection[str]) -> Iterator[Finding]:
    """Find services whose health check fails, except the excluded ones."""
    for replica in facts.replicas.result():
        if (
            replica.service in excluded
            or replica.health != "unhealthy"
            or _ran_out_of_memory(replica)
        ):
            continue
        evidence = (
            f"health check: {replica.reason or 'no output'}",
            *_cause(facts, replica),
            *_consequence(facts, replica.service),
        )
        what = f"{replica.replica} is unhealthy"
        yield Finding(what, evidence, f"inv restart {replica.service}")


def health(facts: Facts) -> Iterator[Finding]:
    """Find replicas of the main service that are not healthy."""
    healths = facts.healths.result()
    if not healths:
        raise Skipped(f"{facts.service} is not running")
    for replica_health in healths:
        yield from health_findings(facts, replica_health)


def health_findings(facts: Facts, health: Health) -> Iterator[Finding]:
    """Find the problem of one replica of the main service, if it has any."""
    name = health.replica or health.service
    evidence = (health.reason, *find_cause(facts.output_of(health.service)))
    match health.state:
        case State.UNREACHABLE:
            what = f"{name} does not answer"
            yield Finding(what, evidence, f"inv restart {health.service}")
        case State.UNKNOWN:
            yield Finding(f"the health of {name} is unknown", (health.reason,), _HEALTH_HINT)
        case State.UNHEALTHY:
            what = f"{name} is unhealthy"
            yield Finding(what, evidence, f"see: inv logs {health.service}")
        case _:
            pass


def configuration(facts: Facts) -> Iterator[Finding]:
    """Find a main service that is older than its configuration or image."""
    if stale := facts.stale.result():
        evidence = (stale, "a restart does not apply it")
        yield Finding(f"{facts.service} is out of date", evidence, "inv up")


def _cause(facts: Facts, replica: Replica) -> tuple[str, ...]:
    return find_cause(facts.output_of(replica.service), has_ended=not replica.running)


def _consequence(facts: Facts, service: str) -> tuple[str, ...]:
    """Return the effect of an unavailable dependency on the main service, if there is one."""
    key = facts.profile.dependencies.get(service)
    healths = () if facts.healths.exception() else facts.healths.result()
    if key and any(health.body.get(key) is False for health in healths):
        return (f"{facts.service} cannot reach it",)
    return ()


def remedy(facts: Facts, service: str, output: str) -> str:
    """Return the remedy for the error that a service has printed."""
    for part, known_remedy in facts.diagnosis.remedies.items():
        if part in output:
            return without_build(facts, known_remedy)
    log = f"full log: inv logs {service} --tail 200"
    return without_build(facts, f"fix this error, then: inv up --build ({log})")


def without_build(facts: Facts, text: str) -> str:
    """Return a remedy without `--build` if the runtime builds no images."""
    return text if facts.in_containers else text.replace(" --build", "")
