"""The stack's variables: the source of `.env.example` and of the table in docs/configuration.md.

`python -m deal_scout_profile.variables` writes both; a test compares them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).parents[1]
PAGE = _ROOT / "docs" / "configuration.md"
_NUMBER = re.compile(r"\d+(\.\d+)?", re.ASCII)


def _port(value: str) -> str:
    is_port = value.isascii() and value.isdigit() and 1 <= int(value) <= 65535
    return "" if is_port else "use a port from 1 to 65535: 8000"


def _seconds(example: str) -> Callable[[str], str]:
    return lambda value: "" if _NUMBER.fullmatch(value) else f"use seconds, such as: {example}"


def _delays(value: str) -> str:
    is_list = all(_NUMBER.fullmatch(word) for word in value.split())
    return "" if is_list else "use seconds: 2 4 8 16 32 64"


def _workers(value: str) -> str:
    is_count = re.fullmatch(r"[1-9]\d*", value, re.ASCII)
    return "" if is_count else "use a whole number of workers: 2"


def _any(_: str) -> str:
    return ""


@dataclass(frozen=True)
class Variable:
    """One variable. `check` returns a hint for an invalid value, else an empty text."""

    name: str
    default: str = ""
    check: Callable[[str], str] = _any


@dataclass(frozen=True)
class Row:
    """A row of the table in docs/configuration.md: variables that belong together."""

    variables: tuple[Variable, ...]
    meaning: str  # for docs/configuration.md
    comment: str = ""  # above them in .env.example
    starts_section: bool = True  # with an empty line before it in .env.example


ROWS = (
    Row(
        (Variable("DATABASE_URL"),),
        "overrides the next five; percent-encode its password",
        "Database connection. DATABASE_URL, if set, overrides the others; percent-encode its"
        " password.\nThe stack's own database (postgres:5432) starts in any case.",
    ),
    Row(
        (Variable("DB_HOST", "postgres"), Variable("DB_PORT", "5432", _port)),
        "host and port of Postgres",
        starts_section=False,
    ),
    Row(
        (
            Variable("POSTGRES_USER", "scout"),
            Variable("POSTGRES_PASSWORD"),
            Variable("POSTGRES_DB", "deal_scout"),
        ),
        "user, password and database there",
        starts_section=False,
    ),
    Row(
        (Variable("REDIS_URL"),),
        "overrides the next three",
        "Broker. REDIS_URL, if set, overrides the others.",
    ),
    Row(
        (
            Variable("REDIS_HOST", "redis"),
            Variable("REDIS_PORT", "6379", _port),
            Variable("REDIS_PASSWORD"),
        ),
        "host, port and password of Redis",
        starts_section=False,
    ),
    Row(
        (Variable("PORT", "8000", _port), Variable("FRONTEND_PORT", "3000", _port)),
        "ports of the backend and the page, published on 127.0.0.1",
        "Ports of the backend and the web page, published on 127.0.0.1.",
    ),
    Row(
        (Variable("ALEMBIC_CMD", "alembic upgrade head"),),
        "command that applies the migrations; empty: skip them",
        "Command that applies the migrations at every start; quotes work, but no shell runs it."
        "\nEmpty: skip them.",
    ),
    Row(
        (Variable("MIGRATE_DELAYS", "2 4 8 16 32 64", _delays),),
        "seconds to wait after each failed attempt; one attempt for each number",
        "Seconds to wait after each failed attempt; one attempt for each number.",
        starts_section=False,
    ),
    Row(
        (Variable("MIGRATE_TIMEOUT", "600", _seconds("600")),),
        "timeout of one attempt in seconds; `0`: none",
        "Timeout of one attempt in seconds; 0: none.",
        starts_section=False,
    ),
    Row(
        (Variable("DB_WAIT_TIMEOUT", "60", _seconds("60")),),
        "seconds to wait for Postgres",
        "Seconds to wait for Postgres before the start continues without it.",
        starts_section=False,
    ),
    Row(
        (Variable("HEALTH_RESTART_AFTER", "300", _seconds("300")),),
        "seconds of failing `/health` after which the watchdog restarts the application; doubled"
        " by each restart that did not help, up to an hour; `0`: never",
        "The watchdog restarts the application when /health has failed for so many seconds"
        " (doubled by\neach restart that did not help, up to an hour), or /live has not answered."
        " 0: never.",
    ),
    Row(
        (Variable("LIVE_RESTART_AFTER", "30", _seconds("30")),),
        "the same for an unanswered `/live`; never doubled",
        starts_section=False,
    ),
    Row(
        (Variable("UVICORN_CMD"),),
        "custom command for the application (rarely used)",
        "Custom command for the application (rarely used). Empty: uvicorn app.main:app on PORT.",
    ),
    Row(
        (Variable("WEB_CONCURRENCY", "1", _workers),),
        "Uvicorn worker processes per backend",
        "Uvicorn worker processes per backend; each has its own connections to Postgres and Redis.",
        starts_section=False,
    ),
    Row(
        (Variable("SCOUT_FEED", "sample"), Variable("SCOUT_INTERVAL", "300", _seconds("300"))),
        "feed that the worker scouts, and the interval in seconds",
        "Feed that the worker scouts (`sample` or an http(s) URL), and the interval in seconds.",
    ),
    Row(
        (Variable("IMAGE_TAG"),),
        "with Docker: tag of the two images; empty: `latest`",
        "Docker only: tag of the two images that are built here. Empty: latest.",
    ),
    Row(
        (Variable("CA_BUNDLE"),),
        "with Docker: CA certificates file for builds behind a proxy that re-signs TLS",
        "Docker only: CA certificates file for builds behind a proxy that re-signs TLS."
        " Empty: none.",
        starts_section=False,
    ),
)

CHECKS = {variable.name: variable.check for row in ROWS for variable in row.variables}

_HEAD = """\
# The stack's variables. Copy this file to .env and set the passwords: cp .env.example .env
# (With Docker, `inv up` does this automatically.) The `local` runtime does not need .env: it
# creates its own database, broker, ports and passwords, and ignores DB_*, POSTGRES_*, REDIS_*,
# DATABASE_URL, HOST and PORT.

# Put a value with any of # $ " \\ into single quotes: POSTGRES_PASSWORD='s3cr$t #1'
"""


def env_example() -> str:
    """Return the text of `.env.example`."""
    lines = [_HEAD.rstrip("\n")]
    for row in ROWS:
        if row.starts_section:
            lines.append("")
        lines += [f"# {line}" for line in row.comment.splitlines()]
        lines += [f"{variable.name}={variable.default}" for variable in row.variables]
    return "\n".join(lines) + "\n"


def markdown_table() -> str:
    """Return the table of docs/configuration.md."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for row in ROWS:
        names = ", ".join(f"`{variable.name}`" for variable in row.variables)
        no_default = "none" if len(row.variables) > 1 else ""
        defaults = ", ".join(f"`{v.default}`" if v.default else no_default for v in row.variables)
        lines.append(f"| {names} | {defaults} | {row.meaning} |".replace("|  |", "| |"))
    return "\n".join(lines) + "\n"


def with_table(page: str) -> str:
    """Return a page with its table of variables replaced by the current one."""
    begin = page.index("| variable | default | meaning |")
    return page[:begin] + markdown_table() + page[page.index("\n\n", begin) + 1 :]


if __name__ == "__main__":
    (_ROOT / ".env.example").write_text(env_example(), "utf-8")
    PAGE.write_text(with_table(PAGE.read_text("utf-8")), "utf-8")
