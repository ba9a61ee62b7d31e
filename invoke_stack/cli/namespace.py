"""All verbs as one Invoke namespace, for a project's `tasks.py`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from invoke.collection import Collection
from invoke.exceptions import Exit
from invoke.main import program
from invoke.tasks import Task

from invoke_stack import config
from invoke_stack.cli import invokefile, service_arguments
from invoke_stack.cli.glue import Verb, speak_utf8
from invoke_stack.cli.verbs import (
    backup,
    doctor,
    health,
    logs,
    migrations,
    restart,
    stack,
    status,
)
from invoke_stack.errors import BadInput
from invoke_stack.profile import Profile
from invoke_stack.text import plain_lines

VERBS: tuple[Task[Any], ...] = (
    stack.up,
    stack.down,
    stack.scale,
    restart.restart_backend,
    restart.restart,
    logs.logs,
    health.health,
    status.status,
    doctor.doctor,
    migrations.migrations,
    migrations.migrate,
    backup.backup,
    backup.restore,
)


def namespace(*more: Task[Any], root: Path, profile: Profile | None = None) -> Collection:
    """Return all verbs, and the project's own tasks, for the `tasks.py` in `root`.

    `profile` is what is known about the project; without one its containers' own health checks
    decide. Raises `Exit` for an `invoke.yaml` that cannot be used.
    """
    speak_utf8()  # before Invoke shows any help
    try:
        invokefile.check(root, os.environ)  # Invoke reads it right after this
    except BadInput as error:
        raise Exit(plain_lines(f"{error.message}\n  {error.hint}"), error.exit_code) from None
    collection = Collection(*VERBS, *more)
    collection.configure({"stack": config.DEFAULTS | {"root": str(root), "profile": profile}})
    _name_services(collection)
    return collection


def _name_services(collection: Collection) -> None:
    """Let services be bare words; see `service_arguments`."""
    parsed = getattr(program, "core", None)
    if not parsed:  # not run by `inv`
        return
    takers = {
        name: {flag: arg.takes_value for arg in task.get_arguments() for flag in _flags(arg.names)}
        for name, task in collection.tasks.items()
        # A project's own tasks would forget the help of their flags when they are asked for them.
        if isinstance(task, Verb) and any("services" in arg.names for arg in task.get_arguments())
    }
    parsed.unparsed[:] = service_arguments.name_services(parsed.unparsed, takers)


def _flags(names: tuple[str, ...]) -> list[str]:
    return [f"-{name}" if len(name) == 1 else f"--{name.replace('_', '-')}" for name in names]
