"""Load Invoke's configuration, the environment and `.env` into one validated Config."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

from invoke_stack import env_file, timestamps
from invoke_stack.errors import BadInput
from invoke_stack.profile import DEFAULT_PROFILE, Profile
from invoke_stack.profile.phases import NO_PHASES, PhaseMarkers, compile_markers
from invoke_stack.profile.readiness import Readiness

RUNTIMES = ("auto", "compose", "local", "swarm")
_NUMBER = re.compile(r"\d+(\.\d+)?", re.ASCII)
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}  # seconds

DEFAULTS: dict[str, Any] = {
    "runtime": "auto",
    "service": None,
    "ready": None,
    "port": None,
    "stable": None,
}
"""The keys of `stack:` in `invoke.yaml` and of `INVOKE_STACK_*`; the file may also set `phases`.

None means the default of the profile or of the service.
"""


@dataclass(frozen=True)
class Config:
    """The configuration of a project."""

    root: Path  # the checkout
    runtime: str  # one of RUNTIMES
    service: str  # the main service: restart-backend, logs and health act on it
    variables: Mapping[str, str]  # the stack's, from the environment and .env
    ready: str = ""  # path or URL that answers 2xx when ready; empty: its container's health check
    port: int = 0  # its container port, if it publishes several; 0: its PORT or the first one
    stable: float = 0.0  # seconds that it must stay ready after a start; 0: the default
    phases: PhaseMarkers = NO_PHASES  # of its start
    profile: Profile = DEFAULT_PROFILE

    @property
    def readiness(self) -> Readiness:
        """The readiness URL of the main service; only the profile's own URL uses its assessment."""
        default = self.profile.readiness
        return default if self.ready == default.url else Readiness(self.ready)

    @property
    def state(self) -> Path:
        """The folder in the checkout for all files of the toolkit."""
        return self.root / ".local"


def _raise(error: BadInput) -> None:
    raise error


def load(
    root: Path,
    settings: Mapping[str, Any],
    environ: Mapping[str, str],
    runtime: str = "",
    on_error: Callable[[BadInput], None] = _raise,
    profile: Profile = DEFAULT_PROFILE,
) -> Config:
    """Return the Config. Raises `BadInput` for an invalid value.

    Args:
        root: the checkout.
        settings: Invoke's configuration below `stack`.
        environ: the environment.
        runtime: the value of `--runtime`, which overrides `settings`.
        on_error: called for each invalid variable of the stack; if it returns, the variable is
            ignored.
        profile: the profile of the project.
    """
    name = runtime or str(settings["runtime"])
    if name not in RUNTIMES:
        source = "--runtime" if runtime else "stack.runtime in invoke.yaml or INVOKE_STACK_RUNTIME"
        raise BadInput(f"invalid value {name!r} for {source}", f"use one of: {', '.join(RUNTIMES)}")
    service = profile.service if settings["service"] is None else str(settings["service"])
    if not service:
        raise BadInput(
            "stack.service in invoke.yaml is empty", "set it to a service, such as: backend"
        )
    ready = profile.ready if settings["ready"] is None else str(settings["ready"] or "")
    if ready and not re.fullmatch(r"(https?://[^/?#\s]+)?(/\S*)?", ready):
        raise BadInput(
            f"invalid value {ready!r} for stack.ready in invoke.yaml",
            "use a path or a URL: /healthz or http://127.0.0.1:8000/healthz",
        )
    variables = stack_variables(root, environ, profile, on_error)
    return Config(
        root,
        name,
        service,
        variables,
        ready=ready,
        port=_port(settings.get("port")),
        stable=_stable(settings.get("stable")),
        phases=_phases(settings.get("phases")) or profile.phases,
        profile=profile,
    )


def _port(value: Any) -> int:
    """Return the port; 0 if it is not set."""
    text = "" if value is None else str(value)
    if not text:
        return 0
    if not re.fullmatch(r"\d{1,5}", text, re.ASCII) or not 1 <= int(text) <= 65535:
        source = "stack.port in invoke.yaml or INVOKE_STACK_PORT"
        raise BadInput(f"invalid value {value!r} for {source}", "use a port from 1 to 65535: 8000")
    return int(text)


def _stable(value: Any) -> float:
    """Return the seconds; 0 if they are not set."""
    text = "" if value is None else str(value)
    if text and not _NUMBER.fullmatch(text):
        source = "stack.stable in invoke.yaml or INVOKE_STACK_STABLE"
        raise BadInput(f"invalid value {value!r} for {source}", "use seconds, such as: 5")
    return float(text or 0)


def _phases(markers: Any) -> PhaseMarkers | None:
    """Return the markers of `{name: BEGIN}` or `{name: [BEGIN, END]}`; None if unset."""
    if not markers:
        return None
    if not hasattr(markers, "items"):  # Invoke's mapping is not a Mapping
        raise BadInput(
            f"invalid value {markers!r} for stack.phases in invoke.yaml",
            "use: name: [BEGIN, END] for each phase",
        )
    patterns_by_name = {}
    for name, value in markers.items():
        patterns = list(value) if isinstance(value, list | tuple) else [value]
        if not 1 <= len(patterns) <= 2 or not all(isinstance(text, str) for text in patterns):
            raise BadInput(
                f"invalid value {value!r} for stack.phases.{name} in invoke.yaml",
                "use the regular expressions of its first and its last line: [BEGIN, END]",
            )
        for text in patterns:
            pattern(f"stack.phases.{name} in invoke.yaml", text)
        patterns_by_name[name] = (patterns[0], patterns[1] if len(patterns) == 2 else "")
    return compile_markers(patterns_by_name)


def stack_variables(
    root: Path,
    environ: Mapping[str, str],
    profile: Profile = DEFAULT_PROFILE,
    on_error: Callable[[BadInput], None] = _raise,
) -> dict[str, str]:
    """Return the stack's variables: all of `.env`, overridden by the environment.

    The environment counts only for names in `.env.example`. `on_error` is called for each value
    that the profile's check rejects; if it returns, the value is ignored.
    """
    example = read_env_file(root / ".env.example", on_error=on_error)
    file_values = read_env_file(root / ".env", environ, on_error)
    overrides = {name: environ[name] for name in example if name in environ}
    variables = {}
    for name, value in (file_values | overrides).items():
        check = profile.variables.get(name)
        hint = check(value) if check and value else ""  # an empty value means the default
        if hint:
            source = "the environment" if name in environ else ".env"
            on_error(BadInput(f"invalid value {value!r} for {name} in {source}", hint))
        else:
            variables[name] = value
    return variables


def read_env_file(
    path: Path,
    environ: Mapping[str, str] = MappingProxyType({}),
    on_error: Callable[[BadInput], None] = _raise,
) -> dict[str, str]:
    """Return the variables of a file, parsed as Compose does; none if it does not exist.

    `environ` is for values that refer to other variables. `on_error` is called for each invalid
    line; if it returns, the line is ignored.
    """

    def on_line_error(error: env_file.Unreadable) -> None:
        hint = 'write it as NAME=value, and quote spaces: NAME="two words"'
        on_error(BadInput(f"{path.name} {error}", hint))

    try:
        return env_file.parse(path.read_bytes().decode("utf-8"), environ, on_line_error)
    except FileNotFoundError:
        pass
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        on_error(BadInput(f"{path.name} line {line} is not UTF-8 text", "save the file as UTF-8"))
    except OSError as error:
        on_error(BadInput(f"cannot read {path.name}: {error.strerror}", "make it a readable file"))
    return {}


def count(flag: str, text: str) -> int:
    """Return a whole number of at least 0. Raises `BadInput` with the flag."""
    if text.isascii() and text.isdigit() and len(text) < 10:
        return int(text)
    hint = f"use a whole number of at least 0: {flag} 100"
    raise BadInput(f"invalid value {text!r} for {flag}", hint)


def seconds(flag: str, text: str) -> float:
    """Return the positive number of seconds in `10`, or with units: `10s`, `5m`, `1h30m`, `1d`."""
    value = _duration(text)
    if not value:
        hint = f"use a positive time: {flag} 30 or {flag} 10m"
        raise BadInput(f"invalid value {text!r} for {flag}", hint)
    return value


_DURATION = re.compile(r"(?:\d{1,9}(?:\.\d+)?[smhd])+|\d{1,9}(?:\.\d+)?", re.ASCII)


def _duration(text: str) -> float | None:
    if not _DURATION.fullmatch(text):
        return None
    parts = re.findall(r"([\d.]+)([smhd]?)", text)
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


_EPOCH = re.compile(r"\d{9,11}(?:\.\d{1,9})?", re.ASCII)


def since(flag: str, text: str, now: datetime) -> str:
    """Return a time as in `LogLine.time`, from what `docker logs --since` accepts.

    That is an age (`10m`, `1h30m`; also `1d`, and seconds without a unit), Unix seconds of nine or
    more digits, or a date or time (`2026-01-31`, `2026-01-31T12:00`), which without an offset is
    local.
    """
    try:
        if _EPOCH.fullmatch(text):
            moment = datetime.fromtimestamp(float(text), UTC)
        elif (age := _duration(text)) is not None:
            moment = now - timedelta(seconds=age)
        else:
            moment = datetime.fromisoformat(text)
        return timestamps.log_time(moment)
    except (ValueError, OverflowError, OSError):
        raise BadInput(
            f"invalid value {text!r} for {flag}",
            f"use an age or a time: {flag} 10m or {flag} 2026-01-31T12:00",
        ) from None


def pattern(flag: str, text: str) -> re.Pattern[str]:
    """Return the compiled regular expression. Raises `BadInput` with the reason."""
    try:
        return re.compile(text)
    except re.error as error:
        raise BadInput(
            f"invalid value {text!r} for {flag}: {error}",
            f"use a regular expression: {flag} 'err|warn'",
        ) from None


def base_url(flag: str, text: str) -> str:
    """Return the base of an http(s) URL: without its endpoint, but with the page's `/api`."""
    match = re.fullmatch(r"(https?://[^/?#\s]+?(?:/api)?)(/|/health|/ready|/live)?", text)
    if not match:
        hint = f"use a URL: {flag} http://127.0.0.1:8000"
        raise BadInput(f"invalid value {text!r} for {flag}", hint)
    return match[1]
