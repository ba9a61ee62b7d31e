"""Parse a `.env` file as Compose does: quotes, escapes, comments and `${NAME:-default}`.

python-dotenv and others differ from Compose in `$`, tabs and colons.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

_IGNORED = re.compile(r"(?:\s|#[^\n]*(?:\n|\Z))*")  # blank lines and comments
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
    """An invalid line. The message has its number and the problem, never a value."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line} {problem}")


def _raise(error: Unreadable) -> None:
    raise error


def parse(
    text: str, environ: Mapping[str, str], on_error: Callable[[Unreadable], None] = _raise
) -> dict[str, str]:
    """Return the variables of a text of `NAME=value` lines.

    A reference to another variable looks in `environ` first, then in the text. `on_error` is called
    for each invalid line, and raises by default; if it returns, the line is ignored.
    """
    text = text.removeprefix("\ufeff")
    values: dict[str, str] = {}

    def lookup(name: str) -> str | None:
        return environ.get(name, values.get(name))

    position = 0
    while (position := _end(_IGNORED, text, position)) < len(text):
        line = text.count("\n", 0, position) + 1
        assignment = _NAME.match(text, position)
        if not assignment:
            on_error(Unreadable(line, "is not NAME=value"))
            position = _end(_PLAIN, text, position)
            continue
        name = assignment["name"]
        position = assignment.end()
        if assignment["end"] == "\n":  # a name alone takes its value from the environment
            values |= {name: environ[name]} if name in environ else {}
            continue
        try:
            values[name], position = _value(text, _end(_BLANK, text, position), lookup)
        except ValueError as error:
            on_error(Unreadable(line, str(error)))
            position = _end(_PLAIN, text, position)
    return values


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    """Return the end of a match at this position; the position itself without a match."""
    match = pattern.match(text, position)
    return match.end() if match else position


def _value(text: str, position: int, lookup: Callable[[str], str | None]) -> tuple[str, int]:
    """Return the value that begins at this position, and the position after it."""
    quote = text[position : position + 1]
    if quote in _QUOTED:
        match = _QUOTED[quote].match(text, position)
        if not match:
            raise ValueError(f"has an unclosed {quote}")
        value = match[1].replace(f"\\{quote}", quote) if quote == "'" else match[1]
        if quote == '"':
            value = _ESCAPE.sub(lambda match: _ESCAPED.get(match[1], match[1]), value)
            value = expand(value, lookup)
    else:
        match = _PLAIN.match(text, position)
        assert match
        value = expand(match[0].partition(" #")[0].rstrip(), lookup)
    if "\0" in value:
        raise ValueError("contains a NUL character")
    return value, match.end()


def expand(text: str, lookup: Callable[[str], str | None]) -> str:
    """Expand `$NAME` and `${NAME}`, also with `:-`, `:+` and `:?`. `$$` is one dollar.

    Raises `ValueError` for what Compose rejects, such as a required variable that is not set.
    """
    parts = []
    position = 0
    while (dollar := text.find("$", position)) >= 0:
        parts.append(text[position:dollar])
        position = dollar + 1
        if text.startswith("$", position):
            parts.append("$")
            position += 1
        elif match := _VARIABLE.match(text, position):
            parts.append(lookup(match[0]) or "")
            position = match.end()
        elif text.startswith("{", position):
            end = _closing_brace(text, position)
            parts.append(_braced(text[position + 1 : end], lookup))
            position = end + 1
        else:
            parts.append("$")
    return "".join([*parts, text[position:]])


def _closing_brace(text: str, position: int) -> int:
    """Return the position of the brace that closes the one at this position."""
    depth = 1
    for match in _BRACES.finditer(text, position + 1):
        depth += 1 if match[0] == "${" else -1
        if depth == 0:
            return match.start()
    raise ValueError("has an unclosed ${; write a literal dollar as $$")


def _braced(inner: str, lookup: Callable[[str], str | None]) -> str:
    match = _BRACED.fullmatch(inner)
    if not match:
        raise ValueError("has a ${…} without a variable name; write a literal dollar as $$")
    name, colon, sign, alternative = match.groups()
    alternative = expand(alternative or "", lookup)
    value = lookup(name)
    is_set = value is not None and not (colon and value == "")
    if sign == "?" and not is_set:
        raise ValueError(f"requires the variable {name}, which is not set")
    if sign == ("+" if is_set else "-"):
        return alternative
    return "" if sign == "+" else value or ""
