"""Arguments of a database connection."""

from __future__ import annotations

from app.settings import load


def test_postgres_arguments_add_server_parameters_to_those_of_the_url() -> None:
    settings = load(
        {"DATABASE_URL": "postgresql://u:p@h/d?options=-csearch_path%3Dx&sslmode=prefer"}
    )
    arguments = settings.postgres_arguments({"lock_timeout": "5s", "TimeZone": "UTC"}, user="me")
    assert arguments["options"] == "-csearch_path=x -c lock_timeout=5s -c TimeZone=UTC"
    assert (arguments["sslmode"], arguments["user"]) == ("prefer", "me")
