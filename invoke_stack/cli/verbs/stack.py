"""Bring the stack up, and stop it."""

from __future__ import annotations

from invoke_stack import config
from invoke_stack.cli.glue import (
    DRY_RUN,
    JSON,
    RUNTIME,
    TIMEOUT,
    Context,
    confirm,
    say,
    show_plan,
    start,
    verb,
)
from invoke_stack.cli.verbs.status import show_status
from invoke_stack.errors import BadInput


@verb(
    build="build the images first",
    remove_orphans="remove containers that are in no Compose file",
    timeout=TIMEOUT,
    json=JSON,
    dry_run=DRY_RUN,
    runtime=RUNTIME,
)
def up(
    context: Context,
    build: bool = False,
    timeout: str = "600",
    json: bool = False,
    dry_run: bool = False,
    runtime: str = "",
    remove_orphans: bool = False,  # last, so that -r is --runtime as with every verb
) -> None:
    """Bring the stack up and wait until it is ready.

    Starts what does not run, and recreates what changed: its image, the Compose
    file, .env. What is as it should be is left alone, so this is safe at any
    time. The first time it writes a .env with new passwords (compose), or makes
    the database (local). Orphans, which run under the project's name and are in
    no Compose file, are listed; they stay unless --remove-orphans.

    Examples:
      inv up                   until everything is ready, at most 10 minutes
      inv up --build           after a change of the code
      inv up --remove-orphans  after a service was renamed
      inv up --timeout 2m
      inv up --dry-run         what it would do, and why

    Exit codes: 0 ready; 2 a bad value; 3 not ready in time; 4 no engine answers,
    somebody else changes the stack, or it is another checkout's.
    """
    from invoke_stack.commands import plan
    from invoke_stack.commands.up import bring_up

    limit = config.seconds("--timeout", timeout)
    session = start(context, runtime)
    if dry_run:
        steps = plan.up(session, build=build, remove_orphans=remove_orphans)
        show_plan(steps, session.runtime.name, json)
        return
    replicas = bring_up(session, build=build, remove_orphans=remove_orphans, timeout=limit)
    for replica in replicas:
        if replica.ports and replica.service in (
            session.config.profile.page,
            session.config.service,
        ):
            say(f"{replica.replica}: http://{replica.ports[0]}")
    show_status(session, json, services={replica.service for replica in replicas})


@verb(
    services="the service, and how many replicas: backend=5",
    timeout=TIMEOUT,
    json=JSON,
    dry_run=DRY_RUN,
    runtime=RUNTIME,
)
def scale(
    context: Context,
    services: str = "",
    timeout: str = "600",
    json: bool = False,
    dry_run: bool = False,
    runtime: str = "",
) -> None:
    """Give a service more or fewer replicas: inv scale backend=5.

    For the runtime swarm; the number outlives `inv up`. A new replica takes
    requests once it is ready, and one that goes finishes what it has begun.

    Examples:
      inv scale backend=5      until all five are ready
      inv scale backend=5 --dry-run

    Exit codes: 0 ready; 2 a bad value, or a runtime or service that cannot be
    scaled; 3 not ready in time; 4 out of reach.
    """
    from invoke_stack.commands import plan
    from invoke_stack.commands.scale import scale_service

    limit = config.seconds("--timeout", timeout)
    name, _, number = services.partition("=")
    if not (name and number.isascii() and number.isdigit() and len(number) < 6):
        raise BadInput(
            f"scale needs a service and a number, not {services!r}",
            "for example: inv scale backend=5",
        )
    session = start(context, runtime)
    if dry_run:
        show_plan(plan.scale(session, name, int(number)), session.runtime.name, json)
        return
    scale_service(session, name, int(number), timeout=limit)
    show_status(session, json)


@verb(
    volumes="delete the data as well",
    yes="do not ask before deleting",
    dry_run=DRY_RUN,
    runtime=RUNTIME,
)
def down(
    context: Context,
    volumes: bool = False,
    yes: bool = False,
    dry_run: bool = False,
    runtime: str = "",
) -> None:
    """Stop the stack; its data stays.

    With --volumes its data goes too, for good: the volumes, or with the runtime
    local the databases, logs and passwords in .local. It lists them and asks
    first, and needs --yes where nobody can be asked. Orphans stay.

    Examples:
      inv down
      inv down --volumes --dry-run
      inv down --volumes --yes

    Exit codes: 0 stopped; 2 it cannot ask; 4 no engine answers, or it is another
    checkout's; 130 you said no.
    """
    from invoke_stack.commands import plan
    from invoke_stack.commands.down import list_data, take_down

    session = start(context, runtime, needs_variables=False)
    if dry_run:
        show_plan(plan.down(session, volumes=volumes), session.runtime.name, False)
        return
    if volumes and not yes and (names := list_data(session)):
        confirm(f"Delete {', '.join(names)} for good?")
    take_down(session, volumes=volumes)
