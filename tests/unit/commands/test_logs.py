"""Lines are shown without anything that a terminal would obey."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoke_stack.commands import logs
from invoke_stack.render import palette
from invoke_stack.render.lines import LinePrinter
from invoke_stack.text import plain
from tests.support.fakes import line


def test_escapes_are_taken_out_whole():
    assert plain("a\x1b[31mred\x1b[0m b") == "ared b"
    assert plain("\x1b]0;title\x07x\x1b]8;;http://evil\x1b\\y") == "xy"
    assert plain("50%\rdone\x08\x9b31mz") == "50%done31mz"
    assert plain("tab\tstays ✓ é 漢") == "tab\tstays ✓ é 漢"
    assert plain("abc\u202etxt.exe") == "abctxt.exe"


@given(st.text())
def test_no_control_character_survives(text):
    shown = plain(text)
    assert not re.search(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]", shown)


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "Zs", "Sm"])))
def test_ordinary_text_stays_as_it_is(text):
    assert plain(text) == text


def test_grep_looks_at_what_is_shown_and_lets_idle_times_pass():
    lines = [line(0, "err\x1b[0mor"), None, line(1, "fine")]
    assert [each and each.text for each in logs.select(lines, re.compile("error"))] == [
        "error",
        None,
    ]


def test_the_printer():
    several = LinePrinter(["backend", "db"], timestamps=True, colour=False)
    assert several.text(line(1, "x")) == "2026-01-01T00:00:01.000Z backend | x"
    assert LinePrinter(["backend"], timestamps=False, colour=False).text(line(1, "x")) == "x"


def test_replicas_of_one_service_are_told_apart():
    printer = LinePrinter(["backend"], timestamps=False, colour=False)
    assert printer.text(line(1, "x", replica="backend-2")) == "backend-2 | x"


READABLE = {
    "28": "green",
    "160": "red",
    "136": "yellow",
    "30": "cyan",
    "32": "blue",
    "133": "magenta",
}


@pytest.mark.parametrize(
    ("text", "shown"),
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
def test_levels_and_markers_have_colours(text, shown):
    printer = LinePrinter(["backend"], timestamps=False, colour=True, prefix="[entrypoint]")
    assert named(printer.text(line(1, text))) == shown


def test_what_grep_found_stands_out_within_any_colour():
    printer = LinePrinter(["a"], timestamps=False, colour=True, highlight=re.compile("RO|r x"))
    assert named(printer.text(line(1, "ERROR x or x")._replace(replica="a", service="a"))) == (
        "<red>ER{RO}R</> x o{r x}"
    )
    assert LinePrinter(["backend"], False, True, re.compile("y*")).text(line(1, "x")) == "x"


def named(shown):
    """Escapes as words."""
    shown = re.sub("\x1b\\[38;5;(\\d+)m", lambda match: f"<{READABLE[match[1]]}>", shown)
    for code, word in (("39", "</>"), ("1;4", "{"), ("22;24", "}")):
        shown = shown.replace(f"\x1b[{code}m", word)
    assert "\x1b" not in shown
    return shown


@pytest.mark.parametrize("name", palette.COLOURS)
def test_every_colour_can_be_read_on_white_and_on_black(name):
    """3 to 1 is what WCAG asks of the parts of an interface."""
    number = palette.COLOURS[name]
    assert number >= 16  # the others are the theme's
    level = luminance(number - 16)
    assert 1.05 / (level + 0.05) >= 3
    assert (level + 0.05) / 0.05 >= 3


def luminance(cube):
    """Of a colour in xterm's cube of 6 x 6 x 6, as WCAG defines it."""
    total = 0.0
    for weight, step in ((0.2126, cube // 36), (0.7152, cube // 6 % 6), (0.0722, cube % 6)):
        value = (0, 95, 135, 175, 215, 255)[step] / 255
        total += weight * (value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4)
    return total
