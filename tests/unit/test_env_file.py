"""Any text is a `.env` file or refused. What each means, tests/integration/compose/test_dotenv.py asks Compose."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoke_stack import env_file

PIECES = ["X", "Y", "=", ":", '"', "'", "\\", "$", "{", "}", "${", "${Y", ":-", "?", "+", "-", " "]
PIECES += ["#", " #", "\n", "\nX=", "a", "\0", "export ", "\t", "$$", "\r\n", "\r", "é", "[", "."]


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join) | st.text())
def test_any_text_is_read_or_refused(text):
    try:
        values = env_file.parse(text, {"Y": "y"})
    except env_file.Unreadable as error:
        assert str(error).startswith("line ")
        return
    assert all(name and isinstance(value, str) for name, value in values.items())
    assert not any("\0" in value for value in values.values())  # no process could be given it


@given(st.text(st.characters(exclude_characters="\0'\\", codec="utf-8")))
def test_single_quotes_keep_everything(value):
    assert env_file.parse(f"A=1\nX='{value}'\nB=2\n", {}) == {"A": "1", "X": value, "B": "2"}


@given(st.text(st.characters(exclude_characters="\0", codec="utf-8")))
def test_double_quotes_keep_what_is_escaped(value):
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    assert env_file.parse(f'X="{escaped}"', {}) == {"X": value}


@pytest.mark.parametrize("line", ["X='hunter2", 'X="hunter2', "X=hunter2${", "X=${:hunter2}"])
def test_an_error_names_the_line_and_no_value(line):
    with pytest.raises(env_file.Unreadable, match=r"^line 3 ") as caught:
        env_file.parse(f"# of mine\nA=1\n{line}\n", {})
    assert "hunter2" not in str(caught.value)


def test_the_environment_wins_over_the_file():
    assert env_file.parse("A=file\nX=${A}", {"A": "outside"})["X"] == "outside"
