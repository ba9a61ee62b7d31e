"""A `.env` file, read as Compose reads it: quotes, escapes, comments and `${NAME:-default}`.

python-dotenv and its like differ from Compose in what they do with `$`, tabs and colons.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

_NOTHING = re.compile(r"(?:\s|#[^\n]*(?:\n|\Z))*")  # blank lines and comments
_BLANK = re.compile(r"[\t\v\f\r \x85\xa0]*")
_NAME = re.compile(rf"(?:export\s+)?(?P<name>[\w.\-\[\]]+){_BLANK.pattern}(?P<end>[=:\n])")
_QUOTED = {
    "'": re.compile(r"'((?:[^'\\]|\\.)*)'", re.DOTALL),
    '"': re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL),
}
_PLAIN = re.compile(r"[^\n]*")
_ESCAPE = re.compile(r'\\([abfnrtv$"\\])')
_ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "$": "$$"}
_VARIABLE = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
_BRACES = re.compile(r"\$\{|\}")
_BRACED = re.compile(r"([_a-zA-Z][_a-zA-Z0-9]*)(?:(:?)([-+?])(.*))?")


class Unreadable(ValueError):
    """What is wrong, and in which line. The text never shows a value."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(f"line {line} {why}")


def _raise(problem: Unreadable) -> None:
    raise problem


def parse(
    text: str, environ: Mapping[str, str], refuse: Callable[[Unreadable], None] = _raise
) -> dict[str, str]:
    """The variables that a file of `NAME=value` lines sets. Raises `Unreadable`.

    Where a value names another variable, `environ` wins over the file. If `refuse`, which is told
    of a line that cannot be read, returns, that line is left out.
    """
    text = text.removeprefix("\ufeff")
    values: dict[str, str] = {}

    def lookup(name: str) -> str | None:
        return environ.get(name, values.get(name))

    at = 0
    while (at := _end(_NOTHING, text, at)) < len(text):
        line = text.count("\n", 0, at) + 1
        named = _NAME.match(text, at)
        if not named:
            refuse(Unreadable(line, "is not NAME=value"))
            at = _end(_PLAIN, text, at)
            continue
        name = named["name"]
        at = named.end()
        if named["end"] == "\n":  # a name alone takes its value from the environment
            values |= {name: environ[name]} if name in environ else {}
            continue
        try:
            values[name], at = _value(text, _end(_BLANK, text, at), lookup)
        except ValueError as error:
            refuse(Unreadable(line, str(error)))
            at = _end(_PLAIN, text, at)
    return values


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    """Where a pattern ends that matches the empty text too."""
    match = pattern.match(text, at)
    return match.end() if match else at


def _value(text: str, at: int, lookup: Callable[[str], str | None]) -> tuple[str, int]:
    """The value that begins at `at`, and where the rest begins."""
    quote = text[at : at + 1]
    if quote in _QUOTED:
        match = _QUOTED[quote].match(text, at)
        if not match:
            raise ValueError(f"has a {quote} without its end")
        value = match[1].replace(f"\\{quote}", quote) if quote == "'" else match[1]
        if quote == '"':
            value = _ESCAPE.sub(lambda found: _ESCAPED.get(found[1], found[1]), value)
            value = expand(value, lookup)
    else:
        match = _PLAIN.match(text, at)
        assert match
        value = expand(match[0].partition(" #")[0].rstrip(), lookup)
    if "\0" in value:
        raise ValueError("holds a NUL character, which no variable can")
    return value, match.end()


def expand(text: str, lookup: Callable[[str], str | None]) -> str:
    """Put variables in: `$NAME`, `${NAME}`, and with `:-`, `:+` and `:?`. `$$` is one dollar.

    Raises `ValueError` for what Compose refuses, such as a variable that is needed and not set.
    """
    parts = []
    at = 0
    while (dollar := text.find("$", at)) >= 0:
        parts.append(text[at:dollar])
        at = dollar + 1
        if text.startswith("$", at):
            parts.append("$")
            at += 1
        elif match := _VARIABLE.match(text, at):
            parts.append(lookup(match[0]) or "")
            at = match.end()
        elif text.startswith("{", at):
            end = _closing_brace(text, at)
            parts.append(_braced(text[at + 1 : end], lookup))
            at = end + 1
        else:
            parts.append("$")
    return "".join([*parts, text[at:]])


def _closing_brace(text: str, at: int) -> int:
    """Where the brace that opens at `at` closes; other variables may stand between."""
    depth = 1
    for match in _BRACES.finditer(text, at + 1):
        depth += 1 if match[0] == "${" else -1
        if depth == 0:
            return match.start()
    raise ValueError("has a ${ without its end; a dollar by itself is written $$")


def _braced(inner: str, lookup: Callable[[str], str | None]) -> str:
    match = _BRACED.fullmatch(inner)
    if not match:
        raise ValueError("has a ${…} that names no variable; a dollar by itself is written $$")
    name, colon, sign, other = match.groups()
    other = expand(other or "", lookup)
    value = lookup(name)
    is_there = value is not None and not (colon and value == "")
    if sign == "?" and not is_there:
        raise ValueError(f"needs the variable {name}, which is not set")
    if sign == ("+" if is_there else "-"):
        return other
    return "" if sign == "+" else value or ""
