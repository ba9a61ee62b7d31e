"""The backend's settings, from environment variables. Standard library only: probes import it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit


class BadSetting(ValueError):
    """A variable has an invalid value. The message never shows a secret."""


@dataclass(frozen=True)
class Settings:
    """Everything that the backend reads from its environment, validated.

    The representation contains no secrets.
    """

    db_host: str
    db_port: int
    db_user: str
    db_name: str
    redis_host: str
    redis_port: int
    redis_db: int
    redis_user: str | None
    db_password: str = field(repr=False)
    redis_password: str | None = field(repr=False)
    db_options: Mapping[str, str] = field(repr=False)  # of DATABASE_URL's query, such as sslmode
    redis_tls: bool
    host: str
    port: int
    run_dir: Path
    state_dir: Path  # outlives the container
    scout_feed: str
    scout_interval: float  # seconds

    def postgres_arguments(
        self, server_parameters: Mapping[str, object] | None = None, **arguments: object
    ) -> dict[str, Any]:
        """Return the arguments for `psycopg2.connect`: no URL, as a password may be any string.

        `server_parameters` of this connection, such as `lock_timeout`, are added to those in
        DATABASE_URL; `arguments` are passed on.
        """
        parameters = (server_parameters or {}).items()
        url_options = self.db_options.get("options", "")
        options = [url_options, *(f"-c {name}={value}" for name, value in parameters)]
        return {
            "host": self.db_host,
            "port": self.db_port,
            "user": self.db_user,
            "password": self.db_password,
            "dbname": self.db_name,
            **self.db_options,
            "options": " ".join(options).strip(),
            **arguments,
        }

    @property
    def redis_url(self) -> str:
        """The broker's URL, every part percent-encoded. It contains the password: do not log it."""
        login = ""
        if self.redis_password:
            login = (
                f"{quote(self.redis_user or '', safe='')}:{quote(self.redis_password, safe='')}@"
            )
        scheme = "rediss" if self.redis_tls else "redis"
        return f"{scheme}://{login}{self.redis_host}:{self.redis_port}/{self.redis_db}"


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read and validate the settings.

    An empty variable counts as unset. `NAME_FILE` is the path of a file with the value of `NAME`,
    as with Docker secrets. Raises `BadSetting`.
    """

    def text(name: str, default: str = "") -> str:
        file = environ.get(f"{name}_FILE")
        if file and not environ.get(name):
            try:
                return Path(file).read_text("utf-8").rstrip("\r\n")
            except OSError as error:
                raise BadSetting(f"{name}_FILE: cannot read {file}: {error.strerror}") from None
        return environ.get(name) or default

    def number(name: str, default: str, low: float, high: float) -> float:
        value = text(name, default)
        try:
            result = float(value)
        except ValueError:
            result = float("nan")
        if not low <= result <= high:
            raise BadSetting(
                f"invalid value {value!r} for {name}: use a number from {low:g} to {high:g}"
            )
        return result

    db_url = _split("DATABASE_URL", text("DATABASE_URL"), ("postgres", "postgresql"))
    redis_url = _split("REDIS_URL", text("REDIS_URL"), ("redis", "rediss"))
    return Settings(
        db_host=db_url.host or text("DB_HOST", "postgres"),
        db_port=db_url.port or int(number("DB_PORT", "5432", 1, 65535)),
        db_user=db_url.user or text("POSTGRES_USER", "scout"),
        db_password=db_url.password or text("POSTGRES_PASSWORD"),
        db_name=db_url.path or text("POSTGRES_DB", "deal_scout"),
        db_options=db_url.options,
        redis_host=redis_url.host or text("REDIS_HOST", "redis"),
        redis_port=redis_url.port or int(number("REDIS_PORT", "6379", 1, 65535)),
        redis_db=int(redis_url.path or 0),
        redis_user=redis_url.user,
        redis_password=redis_url.password or text("REDIS_PASSWORD") or None,
        redis_tls=redis_url.scheme == "rediss",
        host=text("HOST", "0.0.0.0"),  # noqa: S104  the container's published ports limit access
        port=int(number("PORT", "8000", 1, 65535)),
        run_dir=Path(text("RUN_DIR", "/tmp")),  # noqa: S108  a tmpfs in the container
        state_dir=Path(text("STATE_DIR", "/var/lib/deal-scout")),
        scout_feed=text("SCOUT_FEED", "sample"),
        scout_interval=number("SCOUT_INTERVAL", "300", 1, 86400 * 365),
    )


@dataclass(frozen=True)
class _Url:
    scheme: str = ""
    host: str | None = None
    port: int | None = None
    user: str | None = None
    password: str | None = None
    path: str = ""
    options: Mapping[str, str] = field(default_factory=dict)


def _split(name: str, url: str, schemes: tuple[str, ...]) -> _Url:
    if not url:
        return _Url()
    invalid = BadSetting(
        f"{name} is invalid: use the form {schemes[-1]}://user:password@host:port/name,"
        " with special characters in the password percent-encoded"
    )
    try:
        parts = urlsplit(url)
        scheme = parts.scheme.partition("+")[0]
        port = parts.port
    except ValueError:
        raise invalid from None  # the original message would quote the URL with its password
    path = parts.path.lstrip("/")
    if scheme not in schemes or not parts.hostname or "@" in path:
        raise invalid
    if name == "REDIS_URL" and not (path or "0").isdigit():
        raise invalid
    return _Url(
        scheme=scheme,
        host=parts.hostname,
        port=port,
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        path=unquote(path),
        options=dict(parse_qsl(parts.query)) if name == "DATABASE_URL" else {},
    )
