"""Lines are shown without anything that a terminal would obey."""

import re

from hypothesis import given
from hypothesis import strategies as st

from ops import logs
from ops.screen.lines import LinePrinter
from tests.fakes import line


def test_escapes_are_taken_out_whole():
    assert logs.plain("a\x1b[31mred\x1b[0m b") == "ared b"
    assert logs.plain("\x1b]0;title\x07x\x1b]8;;http://evil\x1b\\y") == "xy"
    assert logs.plain("50%\rdone\x08\x9b31mz") == "50%done31mz"
    assert logs.plain("tab\tstays ✓ é 漢") == "tab\tstays ✓ é 漢"
    assert logs.plain("abc\u202etxt.exe") == "abctxt.exe"


@given(st.text())
def test_no_control_character_survives(text):
    shown = logs.plain(text)
    assert not re.search(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]", shown)


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "Zs", "Sm"])))
def test_ordinary_text_stays_as_it_is(text):
    assert logs.plain(text) == text


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
    coloured = LinePrinter(["backend"], timestamps=False, colour=True)
    assert coloured.text(line(1, "[entrypoint] x")) == "\x1b[36m[entrypoint]\x1b[0m x"
