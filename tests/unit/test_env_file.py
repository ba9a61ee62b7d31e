"""Any text is parsed or rejected. tests/integration/compose/test_dotenv.py compares with Compose."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoke_stack import env_file

PIECES = ["X", "Y", "=", ":", '"', "'", "\\", "$", "{", "}", "${", "${Y", ":-", "?", "+", "-", " "]
PIECES += ["#", " #", "\n", "\nX=", "a", "\0", "export ", "\t", "$$", "\r\n", "\r", "é", "[", "."]


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join) | st.text())
def test_parse_accepts_or_rejects_any_text(text):
    try:
        values = env_file.parse(text, {"Y": "y"})
    except env_file.Unreadable as error:
        assert str(error).startswith("line ")
        return
    assert all(name and isinstance(value, str) for name, value in values.items())
    assert not any("\0" in value for value in values.values())  # not possible in an environment


@given(st.text(st.characters(exclude_characters="\0'\\", codec="utf-8")))
def test_parse_keeps_everything_in_single_quotes(value):
    assert env_file.parse(f"A=1\nX='{value}'\nB=2\n", {}) == {"A": "1", "X": value, "B": "2"}


@given(st.text(st.characters(exclude_characters="\0", codec="utf-8")))
def test_parse_keeps_escaped_characters_in_double_quotes(value):
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    assert env_file.parse(f'X="{escaped}"', {}) == {"X": value}


@pytest.mark.parametrize("line", ["X='hunter2", 'X="hunter2', "X=hunter2${", "X=${:hunter2}"])
def test_parse_error_shows_the_line_number_but_no_value(line):
    with pytest.raises(env_file.Unreadable, match=r"^line 3 ") as caught:
        env_file.parse(f"# comment\nA=1\n{line}\n", {})
    assert "hunter2" not in str(caught.value)


def test_parse_prefers_the_environment_for_references():
    assert env_file.parse("A=file\nX=${A}", {"A": "outside"})["X"] == "outside"
