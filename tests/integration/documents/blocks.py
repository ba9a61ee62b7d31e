"""The code blocks of the README, of CONTRIBUTING.md and of docs/."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from typing import NamedTuple

from harness.stacks import ROOT

DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
_BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced code block."""

    document: str
    number: int  # of its first line
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.document}:{self.number}"


def blocks() -> Iterator[Block]:
    """Yield all code blocks of all documents."""
    for document in DOCUMENTS:
        text = document.read_text("utf-8")
        for match in _BLOCK.finditer(text):
            number = text.count("\n", 0, match.start()) + 1
            yield Block(document.name, number, match[2], textwrap.dedent(match[3]))


def commands(block: Block) -> list[tuple[str, str]]:
    """Return the commands of a shell block, each with the comment behind it."""
    pairs = []
    for line in block.text.splitlines():
        command, _, comment = re.sub(r"(^|\s+)#\s*", "\0", line).partition("\0")
        if command:
            pairs.append((command, comment))
    return pairs
