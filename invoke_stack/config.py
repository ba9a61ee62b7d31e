"""Invoke's configuration, the environment and `.env` → one typed, checked Config."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

from invoke_stack import env_file, timestamps
from invoke_stack.errors import BadInput
from invoke_stack.profile import DEFAULT_PROFILE, Profile
from invoke_stack.profile.phases import NO_PHASES, PhaseMarkers, compile_markers
from invoke_stack.profile.readiness import Readiness

RUNTIMES = ("auto", "compose", "local", "swarm")

DEFAULTS: dict[str, Any] = {
    "runtime": "auto",
    "service": None,
    "ready": None,
    "port": None,
    "stable": None,
}
"""What `invoke.yaml` (under `stack:`) and `INVOKE_STACK_*` may set; the former also `phases`.

None stands for what the profile says, or for what suits the service.
"""


@dataclass(frozen=True)
class Config:
    """What the verbs need to know of the project."""

    root: Path  # the checkout
    runtime: str  # one of RUNTIMES
    service: str  # the one that restart-backend, logs and health speak of
    variables: Mapping[str, str]  # the stack's, as set in the environment or in .env
    ready: str = ""  # its path or address that says 2xx when ready; empty: its own health check
    port: int = 0  # its container port, if it publishes several; 0: its PORT or the first one
    stable: float = 0.0  # seconds that it must stay ready after a start; 0: what suits its checks
    phases: PhaseMarkers = NO_PHASES  # which of its lines begin and end the phases of its start
    profile: Profile = DEFAULT_PROFILE

    @property
    def readiness(self) -> Readiness:
        """Where the main service says whether it is ready; only the profile's own body is read."""
        own = self.profile.readiness
        return own if self.ready == own.url else Readiness(self.ready)

    @property
    def state(self) -> Path:
        """The folder for everything that we write into the checkout."""
        return self.root / ".local"


def _raise(problem: BadInput) -> None:
    raise problem


def load(
    root: Path,
    settings: Mapping[str, Any],
    environ: Mapping[str, str],
    runtime: str = "",
    refuse: Callable[[BadInput], None] = _raise,
    profile: Profile = DEFAULT_PROFILE,
) -> Config:
    """Build the Config. `runtime` is the flag and wins. Raises `BadInput` naming what is wrong.

    `refuse` is told what is wrong with the stack's variables; if it returns, they are left out.
    """
    chosen = runtime or str(settings["runtime"])
    if chosen not in RUNTIMES:
        where = "--runtime" if runtime else "stack.runtime in invoke.yaml or INVOKE_STACK_RUNTIME"
        raise BadInput(f"{where} is {chosen!r}", f"use one of: {', '.join(RUNTIMES)}")
    service = profile.service if settings["service"] is None else str(settings["service"])
    if not service:
        raise BadInput("stack.service in invoke.yaml is empty", "name a service, such as: backend")
    ready = profile.ready if settings["ready"] is None else str(settings["ready"] or "")
    if ready and not re.fullmatch(r"(https?://[^/?#\s]+)?(/\S*)?", ready):
        raise BadInput(
            f"stack.ready in invoke.yaml is {ready!r}",
            "use a path or an address: /healthz or http://127.0.0.1:8000/healthz",
        )
    variables = stack_variables(root, environ, profile, refuse)
    return Config(
        root,
        chosen,
        service,
        variables,
        ready=ready,
        port=_port(settings.get("port")),
        stable=_stable(settings.get("stable")),
        phases=_phases(settings.get("phases")) or profile.phases,
        profile=profile,
    )


def _port(value: Any) -> int:
    """Return the port; 0 where none is set."""
    text = "" if value is None else str(value)
    if not text:
        return 0
    if not re.fullmatch(r"\d{1,5}", text, re.ASCII) or not 1 <= int(text) <= 65535:
        where = "stack.port in invoke.yaml or INVOKE_STACK_PORT"
        raise BadInput(f"{where} is {value!r}", "use a port from 1 to 65535: 8000")
    return int(text)


def _stable(value: Any) -> float:
    """Return the seconds; 0 where none are set."""
    text = "" if value is None else str(value)
    if text and not _NUMBER.fullmatch(text):
        where = "stack.stable in invoke.yaml or INVOKE_STACK_STABLE"
        raise BadInput(f"{where} is {value!r}", "use seconds, such as: 5")
    return float(text or 0)


def _phases(markers: Any) -> PhaseMarkers | None:
    """Return the phases of a start from `name: BEGIN` or `name: [BEGIN, END]`; None if unset."""
    if not markers:
        return None
    if not hasattr(markers, "items"):  # Invoke's own kind of mapping
        raise BadInput(
            f"stack.phases in invoke.yaml is {markers!r}", "use: name: [BEGIN, END] for each phase"
        )
    named = {}
    for name, told in markers.items():
        patterns = list(told) if isinstance(told, list | tuple) else [told]
        if not 1 <= len(patterns) <= 2 or not all(isinstance(each, str) for each in patterns):
            raise BadInput(
                f"stack.phases.{name} in invoke.yaml is {told!r}",
                "use the regular expressions of its first and its last line: [BEGIN, END]",
            )
        for text in patterns:
            pattern(f"stack.phases.{name} in invoke.yaml", text)
        named[name] = (patterns[0], patterns[1] if len(patterns) == 2 else "")
    return compile_markers(named)


def stack_variables(
    root: Path,
    environ: Mapping[str, str],
    profile: Profile = DEFAULT_PROFILE,
    refuse: Callable[[BadInput], None] = _raise,
) -> dict[str, str]:
    """Return the variables of `.env.example` that the environment or `.env` sets, the former first.

    `refuse` gets the error of each value that the profile's check refuses; if it returns, that
    value is left out.
    """
    known = read_env_file(root / ".env.example", refuse=refuse)
    ours = read_env_file(root / ".env", environ, refuse)
    merged = {}
    for name, value in (ours | {n: environ[n] for n in known if n in environ}).items():
        check = profile.variables.get(name)
        hint = check(value) if check and value else ""  # empty means: the default
        if hint:
            where = "the environment" if name in environ else ".env"
            refuse(BadInput(f"{name} in {where} is {value!r}", hint))
        else:
            merged[name] = value
    return merged


def read_env_file(
    path: Path,
    environ: Mapping[str, str] = MappingProxyType({}),
    refuse: Callable[[BadInput], None] = _raise,
) -> dict[str, str]:
    """The variables that a file sets, as Compose reads it; none when there is no file.

    `environ` is for values that name other variables. `refuse` is told of each line that cannot be
    read; if it returns, that line is left out.
    """

    def refuse_line(error: env_file.Unreadable) -> None:
        hint = 'write it as NAME=value, with quotes around blanks: NAME="two words"'
        refuse(BadInput(f"{path.name} {error}", hint))

    try:
        return env_file.parse(path.read_bytes().decode("utf-8"), environ, refuse_line)
    except FileNotFoundError:
        pass
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        refuse(BadInput(f"{path.name} line {line} is not UTF-8 text", "save the file as UTF-8"))
    except OSError as error:
        what = f"{path.name} cannot be read: {error.strerror}"
        refuse(BadInput(what, "make it a file that you may read"))
    return {}


_NUMBER = re.compile(r"\d+(\.\d+)?", re.ASCII)


def count(flag: str, text: str) -> int:
    """A whole number of at least 0, or BadInput naming the flag."""
    if text.isascii() and text.isdigit() and len(text) < 10:
        return int(text)
    raise BadInput(f"{flag} is {text!r}", f"use a whole number of at least 0: {flag} 100")


def seconds(flag: str, text: str) -> float:
    """A positive number of seconds, `10` or with a unit `10s`, `5m`, `2h`, `1d`."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d+)?)(s|m|h|d|)", text, re.ASCII)
    value = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if value <= 0:
        raise BadInput(f"{flag} is {text!r}", f"use a positive time: {flag} 30 or {flag} 10m")
    return value


_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def since(flag: str, text: str, now: datetime) -> str:
    """A time as in `LogLine.time`, from an age (`10m`) or an RFC 3339 time."""
    try:
        if text[:1].isdigit() and "T" in text:
            moment = timestamps.parse(text)
        else:
            moment = now - timedelta(seconds=seconds(flag, text))
        return timestamps.log_time(moment)
    except (BadInput, ValueError, OverflowError):
        raise BadInput(
            f"{flag} is {text!r}",
            f"use an age or a time: {flag} 10m or {flag} 2026-01-31T12:00:00Z",
        ) from None


def pattern(flag: str, text: str) -> re.Pattern[str]:
    """A regular expression, or BadInput with what is wrong in it."""
    try:
        return re.compile(text)
    except re.error as error:
        raise BadInput(
            f"{flag} {text!r}: {error}", f"use a regular expression: {flag} 'err|warn'"
        ) from None


def base_url(flag: str, text: str) -> str:
    """An http(s) address, or the page's way to the backend there; an endpoint may stand behind it."""
    match = re.fullmatch(r"(https?://[^/?#\s]+?(?:/api)?)(/|/health|/ready|/live)?", text)
    if not match:
        raise BadInput(f"{flag} is {text!r}", f"use an address: {flag} http://127.0.0.1:8000")
    return match[1]
