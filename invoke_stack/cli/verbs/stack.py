"""Start, scale and stop the stack."""

from __future__ import annotations

from invoke_stack import config
from invoke_stack.cli.glue import (
    DRY_RUN,
    JSON,
    RUNTIME,
    TIMEOUT,
    Context,
    confirm,
    open_session,
    say,
    show_plan,
    verb,
)
from invoke_stack.cli.verbs.status import show_status
from invoke_stack.errors import BadInput


@verb(
    changes=True,
    build="build the images first",
    remove_orphans="remove containers not in any Compose file",
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
    remove_orphans: bool = False,  # last, so that -r is --runtime as in every verb
) -> None:
    """Start the stack, and wait until its health checks pass.

    Starts services that are not running, and recreates those whose image,
    Compose file or .env has changed. Leaves everything else alone, so it is safe
    to run at any time. The first run writes a .env with new passwords (compose),
    or creates the database (local). Orphans (containers of the project that are
    in no Compose file) are listed, and only removed with --remove-orphans.

    Examples:
      inv up                   wait until everything is ready, up to 10 minutes
      inv up --build           after a code change
      inv up --remove-orphans  after renaming a service
      inv up --timeout 2m
      inv up --dry-run         show what it would do, and why

    Exit codes: 0 ready; 2 invalid value; 3 not ready in time; 4 no engine
    answers, or the stack is locked by another command or belongs to another
    checkout.
    """
    from invoke_stack.commands import plan
    from invoke_stack.commands.up import bring_up

    limit = config.seconds("--timeout", timeout)
    session = open_session(context, runtime)
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
    changes=True,
    services="service and number of replicas: backend=5",
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
    """Set the number of replicas: inv scale SERVICE=N.

    Only with the swarm runtime. Later runs of inv up keep the number. A new
    replica gets requests once it is ready; one that stops finishes its requests
    first.

    Examples:
      inv scale backend=5      wait until all five are ready
      inv scale backend=5 --dry-run

    Exit codes: 0 ready; 2 invalid value, or the runtime or service cannot be
    scaled; 3 not ready in time; 4 no such service, no engine answers, or the
    stack is locked by another command or belongs to another checkout.
    """
    from invoke_stack.commands import plan
    from invoke_stack.commands.scale import scale_service

    limit = config.seconds("--timeout", timeout)
    name, _, number = services.partition("=")
    if not (name and number.isascii() and number.isdigit() and len(number) < 6):
        raise BadInput(
            f"scale needs SERVICE=N, not {services!r}",
            "for example: inv scale backend=5",
        )
    session = open_session(context, runtime)
    if dry_run:
        show_plan(plan.scale(session, name, int(number)), session.runtime.name, json)
        return
    scale_service(session, name, int(number), timeout=limit)
    show_status(session, json)


@verb(
    changes=True,
    volumes="delete the data as well",
    yes="do not ask for confirmation",
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
    """Stop the stack, and keep its data.

    --volumes also deletes the data permanently: the volumes, or with the local
    runtime the databases, logs and passwords in .local. It lists them and asks
    for confirmation; without a terminal it needs --yes. Orphans stay.

    Examples:
      inv down
      inv down --volumes --dry-run
      inv down --volumes --yes

    Exit codes: 0 stopped; 2 cannot ask for confirmation; 4 no engine answers, or
    the stack is locked by another command or belongs to another checkout; 130
    not confirmed.
    """
    from invoke_stack.commands import plan
    from invoke_stack.commands.down import list_data, take_down

    session = open_session(context, runtime, needs_variables=False)
    if dry_run:
        show_plan(plan.down(session, volumes=volumes), session.runtime.name, False)
        return
    if volumes and not yes and (names := list_data(session)):
        confirm(f"Delete {', '.join(names)} permanently?")
    take_down(session, volumes=volumes)
