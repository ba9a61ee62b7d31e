"""The project's `invoke.yaml`, checked before Invoke reads it: Invoke answers with tracebacks."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from invoke import util
from invoke.config import Config

from invoke_stack import config
from invoke_stack.errors import BadInput

NAMES = ("invoke.yaml", "invoke.yml", "invoke.json")  # JSON is YAML; of several the first counts
_KEYS = (*config.DEFAULTS, "phases")
yaml: Any = vars(util)["yaml"]  # its own copy
_RENAMED = {"health": "ready", "markers": "phases"}  # the keys of the section that was `ops:`
_EXAMPLE = "write it as: stack: {runtime: local}"


def check(root: Path, environ: Mapping[str, str]) -> None:
    """Raise `BadInput` for what Invoke could not read or merge, and for a setting nobody knows."""
    for name, value in environ.items():
        if name.startswith("INVOKE_OPS_"):
            key = name.removeprefix("INVOKE_OPS_").lower()
            new = f"INVOKE_STACK_{_RENAMED.get(key, key).upper()}"
            raise BadInput(f"{name} has another name now", f"set instead: {new}={value}")
        if name.startswith("INVOKE_STACK_"):
            _check_variable(name)
    for name in NAMES:
        path = root / name
        if path.exists():
            _check(name, _read(path))
            return


def _read(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_bytes().decode("utf-8"))
    except UnicodeDecodeError:
        raise BadInput(f"{path.name} is not UTF-8 text", "save it as UTF-8 text") from None
    except OSError as error:
        raise BadInput(
            f"{path.name} cannot be read: {error.strerror}", "make it readable"
        ) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        why = getattr(error, "problem", None) or getattr(error, "reason", "")
        raise BadInput(f"{path.name}{where} is no YAML: {why}", _EXAMPLE) from None


def _check(name: str, found: Any) -> None:
    if found is None:
        return
    if not isinstance(found, dict):
        raise BadInput(f"{name} is {found!r}, no mapping", _EXAMPLE)
    if "ops" in found:
        old = found["ops"] if isinstance(found["ops"], dict) else {}
        settings = {_RENAMED.get(key, key): value for key, value in old.items()}
        known = {key: value for key, value in settings.items() if key in _KEYS}
        line = yaml.safe_dump(known, default_flow_style=True, width=10_000).strip()
        hint = f"write: stack: {line}" if known else "write its settings below stack:"
        raise BadInput(f"the section ops: in {name} has another name now", hint)
    for key, known in (Config.global_defaults() | {"stack": config.DEFAULTS}).items():
        if isinstance(known, dict) and not isinstance(found.get(key, {}), dict):
            example = (
                _EXAMPLE if key == "stack" else f"write settings below it, or leave out: {key}"
            )
            what = "empty" if found[key] is None else f"{found[key]!r}, no mapping"
            raise BadInput(f"{key} in {name} is {what}", example)
    _check_settings(name, found.get("stack", {}))


def _check_variable(name: str) -> None:
    known = [f"INVOKE_STACK_{key.upper()}" for key in config.DEFAULTS]
    if name not in known:
        raise BadInput(f"{name} is read by nothing", _suggest(name, known))


def _suggest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    meant = f"did you mean: {near[0]}? " if near else ""
    return f"{meant}there are: {', '.join(known)}"


def _check_settings(name: str, settings: Mapping[Any, Any]) -> None:
    for key, value in settings.items():
        if key == "phases" and isinstance(value, dict):
            for phase in value:
                if not isinstance(phase, str):
                    hint = f"write it as text: '{phase}'"
                    raise BadInput(f"the phase {phase!r} in {name} has no name", hint)
        if key not in _KEYS:
            raise BadInput(f"stack.{key} in {name} is read by nothing", _suggest(str(key), _KEYS))
        if key != "phases" and isinstance(value, dict | list):
            raise BadInput(
                f"stack.{key} in {name} is {value!r}", f"use one word, such as: {_WORDS[key]}"
            )


_WORDS = {
    "runtime": "local",
    "service": "backend",
    "ready": "/ready",
    "port": "8000",
    "stable": "5",
}
