"""Checks `invoke.yaml` first, because Invoke itself fails with a traceback if it is invalid."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from invoke import util
from invoke.config import Config

from invoke_stack import config
from invoke_stack.errors import BadInput

NAMES = ("invoke.yaml", "invoke.yml", "invoke.json")  # the first that exists counts; JSON is YAML
yaml: Any = vars(util)["yaml"]  # Invoke's bundled copy
_KEYS = (*config.DEFAULTS, "phases")
_RENAMED = {"health": "ready", "markers": "phases"}  # keys of the former section `ops:`
_EXAMPLE = "for example: stack: {runtime: local}"
_EXAMPLES = {
    "runtime": "local",
    "service": "backend",
    "ready": "/ready",
    "port": "8000",
    "stable": "5",
}


def check(root: Path, environ: Mapping[str, str]) -> None:
    """Check the settings of `invoke.yaml` in `root` and of the environment.

    Raises `BadInput` for a file that Invoke cannot read or merge, and for an unknown setting.
    """
    for name, value in environ.items():
        if name.startswith("INVOKE_OPS_"):
            key = name.removeprefix("INVOKE_OPS_").lower()
            new_name = f"INVOKE_STACK_{_RENAMED.get(key, key).upper()}"
            raise BadInput(f"variable {name} was renamed", f"set instead: {new_name}={value}")
        if name.startswith("INVOKE_STACK_"):
            _check_variable(name)
    for name in NAMES:
        path = root / name
        if path.exists():
            _check_content(name, _read(path))
            return


def _read(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_bytes().decode("utf-8"))
    except UnicodeDecodeError:
        raise BadInput(f"{path.name} is not UTF-8 text", "save it as UTF-8") from None
    except OSError as error:
        raise BadInput(
            f"cannot read {path.name}: {error.strerror}", "make it a file that you can read"
        ) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or getattr(error, "reason", "")
        raise BadInput(f"{path.name}{line} is not valid YAML: {reason}", _EXAMPLE) from None


def _check_content(name: str, content: Any) -> None:
    if content is None:
        return
    if not isinstance(content, dict):
        raise BadInput(f"{name} is {content!r}, not a mapping", _EXAMPLE)
    if "ops" in content:
        old = content["ops"] if isinstance(content["ops"], dict) else {}
        renamed = {_RENAMED.get(key, key): value for key, value in old.items()}
        settings = {key: value for key, value in renamed.items() if key in _KEYS}
        line = yaml.safe_dump(settings, default_flow_style=True, width=10_000).strip()
        hint = f"write: stack: {line}" if settings else "move its settings to stack:"
        raise BadInput(f"section ops: in {name} was renamed to stack:", hint)
    for key, default in (Config.global_defaults() | {"stack": config.DEFAULTS}).items():
        if isinstance(default, dict) and not isinstance(content.get(key, {}), dict):
            hint = _EXAMPLE if key == "stack" else f"add settings below it, or remove: {key}"
            value = "empty" if content[key] is None else f"{content[key]!r}, not a mapping"
            raise BadInput(f"{key} in {name} is {value}", hint)
    _check_settings(name, content.get("stack", {}))


def _check_variable(name: str) -> None:
    names = [f"INVOKE_STACK_{key.upper()}" for key in config.DEFAULTS]
    if name not in names:
        raise BadInput(f"unknown variable {name}", _suggest(name, names))


def _suggest(name: str, names: Sequence[str]) -> str:
    matches = difflib.get_close_matches(name, names, 1)
    suggestion = f"did you mean {matches[0]}? " if matches else ""
    return f"{suggestion}valid names: {', '.join(names)}"


def _check_settings(name: str, settings: Mapping[Any, Any]) -> None:
    for key, value in settings.items():
        if key == "phases" and isinstance(value, dict):
            for phase in value:
                if not isinstance(phase, str):
                    message = f"phase name {phase!r} in {name} is not a string"
                    raise BadInput(message, f"quote it: '{phase}'")
        if key not in _KEYS:
            raise BadInput(f"unknown setting stack.{key} in {name}", _suggest(str(key), _KEYS))
        if key != "phases" and isinstance(value, dict | list):
            raise BadInput(
                f"stack.{key} in {name} is {value!r}", f"use one value, such as: {_EXAMPLES[key]}"
            )
