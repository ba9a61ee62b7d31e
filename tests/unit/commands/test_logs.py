"""Log lines are shown without terminal escapes, and with colours of their own."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoke_stack.commands import logs
from invoke_stack.render import palette
from invoke_stack.render.lines import LinePrinter
from invoke_stack.text import plain
from tests.support.fakes import line


def test_plain_removes_whole_escape_sequences():
    assert plain("a\x1b[31mred\x1b[0m b") == "ared b"
    assert plain("\x1b]0;title\x07x\x1b]8;;http://evil\x1b\\y") == "xy"
    assert plain("50%\rdone\x08\x9b31mz") == "50%done31mz"
    assert plain("tab\tstays ✓ é 漢") == "tab\tstays ✓ é 漢"
    assert plain("abc\u202etxt.exe") == "abctxt.exe"


@given(st.text())
def test_plain_removes_all_control_characters(text):
    assert not re.search(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]", plain(text))


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "Zs", "Sm"])))
def test_plain_keeps_ordinary_text(text):
    assert plain(text) == text


def test_filter_lines_matches_plain_text_and_passes_none_through():
    lines = [line(0, "err\x1b[0mor"), None, line(1, "fine")]
    matches = logs.filter_lines(lines, re.compile("error"))
    assert [match and match.text for match in matches] == ["error", None]


@pytest.mark.parametrize(("tail", "expected"), [(2, ["1", "2"]), (0, []), (9, ["0", "1", "2"])])
def test_f45_skip_to_tail_keeps_the_last_lines_and_all_new_ones(tail, expected):
    lines = [line(0, "0"), line(1, "1"), line(2, "2"), None, line(3, "new"), None]
    texts = [entry and entry.text for entry in logs.skip_to_tail(lines, tail)]
    assert texts == [*expected, None, "new", None]
    assert [entry for entry in logs.skip_to_tail(lines[:3], tail) if entry] == lines[
        3 - len(expected) : 3
    ]


def test_line_printer_shows_the_service_only_among_several():
    several = LinePrinter(["backend", "db"], timestamps=True, colour=False)
    assert several.text(line(1, "x")) == "2026-01-01T00:00:01.000Z backend | x"
    assert LinePrinter(["backend"], timestamps=False, colour=False).text(line(1, "x")) == "x"


def test_line_printer_shows_the_replica_of_one_service():
    printer = LinePrinter(["backend"], timestamps=False, colour=False)
    assert printer.text(line(1, "x", replica="backend-2")) == "backend-2 | x"


COLOUR_NAMES = {
    "28": "green",
    "160": "red",
    "136": "yellow",
    "30": "cyan",
    "32": "blue",
    "133": "magenta",
}


@pytest.mark.parametrize(
    ("text", "coloured"),
    [
        ("plain", "plain"),
        ("[entrypoint] x", "<cyan>[entrypoint]</> x"),
        ("[entrypoint] ✓ done", "<cyan>[entrypoint]</> <green>✓ done</>"),
        ("[entrypoint] ✗ code 1", "<cyan>[entrypoint]</> <red>✗ code 1</>"),
        ("[entrypoint] ⚠️  not", "<cyan>[entrypoint]</> <yellow>⚠️  not</>"),
        ("[entrypoint] Cause: ERROR", "<cyan>[entrypoint]</> Cause: <red>ERROR</>"),
        ("ERROR:    no", "<red>ERROR</>:    no"),
        ("[2026 : WARNING/Main] x", "[2026 : <yellow>WARNING</>/Main] x"),
        ("1#1: [error] x [warn]", "1#1: <red>[error]</> x <yellow>[warn]</>"),
        ("MYERROR ERRORS WARNED", "MYERROR ERRORS WARNED"),
    ],
)
def test_line_printer_colours_levels_and_markers(text, coloured):
    printer = LinePrinter(["backend"], timestamps=False, colour=True, prefix="[entrypoint]")
    assert name_escapes(printer.text(line(1, text))) == coloured


def test_line_printer_highlights_matches_within_any_colour():
    printer = LinePrinter(["a"], timestamps=False, colour=True, highlight=re.compile("RO|r x"))
    text = printer.text(line(1, "ERROR x or x")._replace(replica="a", service="a"))
    assert name_escapes(text) == "<red>ER{RO}R</> x o{r x}"
    assert LinePrinter(["backend"], False, True, re.compile("y*")).text(line(1, "x")) == "x"


def name_escapes(text):
    """Replace colour escapes by tags such as `<red>`, and highlighting by braces."""
    text = re.sub("\x1b\\[38;5;(\\d+)m", lambda match: f"<{COLOUR_NAMES[match[1]]}>", text)
    for code, tag in (("39", "</>"), ("1;4", "{"), ("22;24", "}")):
        text = text.replace(f"\x1b[{code}m", tag)
    assert "\x1b" not in text
    return text


@pytest.mark.parametrize("name", palette.COLOURS)
def test_palette_is_readable_on_white_and_black(name):
    """WCAG requires a contrast of 3 to 1 for parts of a user interface."""
    number = palette.COLOURS[name]
    assert number >= 16  # the others are the theme's
    level = luminance(number - 16)
    assert 1.05 / (level + 0.05) >= 3
    assert (level + 0.05) / 0.05 >= 3


def luminance(cube):
    """Return the relative luminance (WCAG) of a colour in xterm's cube of 6 x 6 x 6."""
    total = 0.0
    for weight, step in ((0.2126, cube // 36), (0.7152, cube // 6 % 6), (0.0722, cube % 6)):
        value = (0, 95, 135, 175, 215, 255)[step] / 255
        total += weight * (value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4)
    return total
