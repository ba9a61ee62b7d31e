"""The console for all output; it removes control characters from text that others wrote."""

from __future__ import annotations

import re
from typing import Any

from rich.console import Console
from rich.text import Text

# Control characters other than tab and line feed, marks that change the direction of text, and
# lone surrogates, which cannot be encoded.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def plain(text: Text) -> Text:
    """Replace the control characters of a text in place, keep its colours, and return it."""
    if _CONTROL.search(text.plain):
        text.plain = _CONTROL.sub("\ufffd", text.plain)
    return text


class PlainConsole(Console):
    """Prints strings with their control characters replaced.

    It changes neither a `Text`, which goes through `plain` before its layout, nor `out`, because
    log lines are cleaned before they are coloured.
    """

    def render_str(self, text: str, **options: Any) -> Text:
        """Render a string as Rich does, with its control characters replaced."""
        # Replaced, not removed: without a character the rest of the text could become markup.
        if options.get("markup") is not False:
            text = _CONTROL.sub("\ufffd", text)
        return super().render_str(text, **options)

    def on_broken_pipe(self) -> None:
        """Leave it to the verb what a closed pipe means; Rich would exit with code 1."""
        raise BrokenPipeError
