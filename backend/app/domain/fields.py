"""The types of a deal's fields, with limits that the database can store.

The OpenAPI document describes exactly what each type accepts.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    HttpUrl,
    StringConstraints,
    TypeAdapter,
    WithJsonSchema,
)

_URL_LENGTH = 2000  # the limit of a B-tree entry is 2,704 bytes
_HTTP_URL = TypeAdapter(HttpUrl)
_AMOUNT = re.compile(r"[0-9]{1,10}(\.[0-9]{1,2})?")
_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)


def normalize_url(text: str) -> str:
    """Return an http(s) URL in its normal form. Raises `ValueError`, also if it has a login."""
    if "@" in urlsplit(text).netloc:
        raise ValueError("a URL must not hold a login")
    url = str(_HTTP_URL.validate_python(text))
    if len(url) > _URL_LENGTH:  # percent-encoding makes it longer
        raise ValueError(f"longer than {_URL_LENGTH} characters")
    return url


def _amount(value: object) -> object:
    if isinstance(value, bool) or (isinstance(value, str) and not _AMOUNT.fullmatch(value)):
        raise ValueError("must be an amount such as 19.99")
    return value


def _instant(value: object) -> datetime:
    """Convert to UTC, as the database does: in other zones the year may leave 1 to 9999."""
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise ValueError("must be a date and time as in 2024-01-31T12:00:00Z")
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except OverflowError:
        raise ValueError("outside of the years 1 to 9999") from None


# PostgreSQL's text cannot contain NUL; at least one character must be visible.
def _text(length: int) -> StringConstraints:
    return StringConstraints(
        strip_whitespace=True,
        min_length=1,
        max_length=length,
        pattern=r"^[^\x00]*[^\s\x00][^\x00]*$",
    )


Title = Annotated[str, _text(300)]
Source = Annotated[str, _text(100)]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
Url = Annotated[
    str,
    StringConstraints(max_length=_URL_LENGTH),
    AfterValidator(normalize_url),
    WithJsonSchema(
        {
            "type": "string",
            "format": "uri",
            "maxLength": _URL_LENGTH,
            "pattern": "^https?://[A-Za-z0-9]",
            "examples": ["https://shop.example/lamp"],
        }
    ),
]
Price = Annotated[
    Decimal,
    BeforeValidator(_amount),
    Field(ge=0, max_digits=12, decimal_places=2),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": 9999999999.99, "multipleOf": 0.01},
                {"type": "string", "pattern": f"^{_AMOUNT.pattern}$"},
            ],
            "examples": ["19.99"],
        },
        mode="validation",
    ),
]
Instant = Annotated[
    datetime,
    BeforeValidator(_instant),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
