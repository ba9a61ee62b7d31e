"""The Invoke namespace with all verbs, for a project's `tasks.py`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from invoke.collection import Collection
from invoke.exceptions import Exit
from invoke.main import program
from invoke.parser.context import to_flag
from invoke.tasks import Task

from invoke_stack import config
from invoke_stack.cli import invokefile, rejections, service_arguments
from invoke_stack.cli.glue import Verb, use_utf8
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


def namespace(*tasks: Task[Any], root: Path, profile: Profile | None = None) -> Collection:
    """Return all verbs and the project's own `tasks`, for the `tasks.py` in `root`.

    Without a `profile` of the project, its containers' own health checks decide. Raises `Exit` if
    `invoke.yaml` is not valid.
    """
    use_utf8()  # before Invoke prints any help
    try:
        invokefile.check(root, os.environ)  # before Invoke reads the file
    except BadInput as error:
        raise Exit(plain_lines(f"{error.message}\n  {error.hint}"), error.exit_code) from None
    collection = Collection(*VERBS, *tasks)
    collection.configure({"stack": config.DEFAULTS | {"root": str(root), "profile": profile}})
    _name_services(collection)
    rejections.install(program)
    return collection


def _name_services(collection: Collection) -> None:
    """Let services be positional arguments; see `service_arguments`."""
    command_line = getattr(program, "core", None)
    if not command_line:  # imported, not run by `inv`
        return
    verbs = {
        name: {
            flag: arg.takes_value
            for arg in task.get_arguments()
            for flag in map(to_flag, arg.names)
        }
        for name, task in collection.tasks.items()
        # Only a `Verb` keeps the help of its flags when `get_arguments` is called early.
        if isinstance(task, Verb) and any("services" in arg.names for arg in task.get_arguments())
    }
    command_line.unparsed[:] = service_arguments.name_services(command_line.unparsed, verbs)
