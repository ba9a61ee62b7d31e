"""The console on which everything is shown, whoever wrote it."""

from __future__ import annotations

import re
from typing import Any

from rich.console import Console
from rich.text import Text

# Control characters but tab and line feed, the marks that turn the direction of text, and halves
# of characters, which no terminal can be given.
_OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def plain(text: Text) -> Text:
    """The text without what a terminal would obey, in the same colours."""
    if _OBEYED.search(text.plain):
        text.plain = _OBEYED.sub("\ufffd", text.plain)
    return text


class PlainConsole(Console):
    """Shows names, reasons and answers of others without anything that a terminal would obey.

    A `Text` is left alone, for `plain` makes it so before it is laid out; and so is `out`, for log
    lines are plain before they get their colours.
    """

    def render_str(self, text: str, **options: Any) -> Text:
        # Replaced, for what is left when one is taken out might be markup.
        if options.get("markup") is not False:
            text = _OBEYED.sub("\ufffd", text)
        return super().render_str(text, **options)
