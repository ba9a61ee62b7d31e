"""Statements in the log have no values."""

import pytest
from app.boot.blockers import MAX_LENGTH, mask


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELECT 1", "SELECT ?"),
        ("UPDATE deals\n  SET price = 9.50 WHERE id=7", "UPDATE deals SET price = ? WHERE id=?"),
        ("ALTER ROLE scout PASSWORD 'it''s'", "ALTER ROLE scout PASSWORD ?"),
        (r"SELECT E'a\'secret', 'b'", "SELECT ?, ?"),
        (r"SELECT 'a\', 'secret'", "SELECT ?, ?"),
        ("SELECT $$secret$$, $x$a $$ secret$x$", "SELECT ?, ?"),
        ("SELECT 'cut off secr", "SELECT ?"),
        ("SELECT $a$cut off secr", "SELECT ?"),
        ('SELECT "it\'s", \'secret\' FROM "t1"', 'SELECT "it\'s", ? FROM "t1"'),
        (
            "SELECT t1.c2 -- it's secret\nFROM t1 /* 'secret */ LIMIT 3",
            "SELECT t1.c2 FROM t1 LIMIT ?",
        ),
        ("SELECT $1, a FROM b", "SELECT $1, a FROM b"),
        ("", ""),
    ],
)
def test_mask_replaces_every_value(query, expected):
    assert mask(query) == expected


def test_mask_truncates_a_long_statement():
    assert len(mask("SELECT " + "a, " * 1000)) == MAX_LENGTH
