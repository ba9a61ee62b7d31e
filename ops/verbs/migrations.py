"""Show where the schema stands."""

from __future__ import annotations

from invoke.context import Context

from ops.errors import BadInput
from ops.verbs.edge import JSON, RUNTIME, resolve, terminal, verb


@verb(json=JSON, runtime=RUNTIME)
def migrations(context: Context, json: bool = False, runtime: str = "") -> None:
    """Show the schema's revision, the newest one, and those between."""
    import json as codec

    from ops.model import Schema
    from ops.screen import data

    configured, where = resolve(context, runtime)
    if not configured.is_deal_scout:
        raise BadInput(
            f"{configured.service} is not known to tell of its schema",
            "inv migrations is for services with deal-scout's endpoints",
        )
    said = codec.loads(where.execute(configured.service, ("python", "-m", "app.schema"), 30))
    schema = Schema(said["current"], said["head"], tuple(said["pending"]))
    if json:
        print(data.dumps(data.schema_json(schema)))
        return
    from ops.screen import table

    console = terminal()
    console.print(table.schema_line(schema))
    for revision in schema.pending or ():
        console.print(f"  pending: {revision}")
