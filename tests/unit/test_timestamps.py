"""Times as text, with the decimals and offsets that engines write."""

from datetime import UTC, datetime

import pytest

from invoke_stack import timestamps

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "microsecond"),
    [
        ("2026-01-31T12:00:00Z", 0),
        ("2026-01-31T12:00:00.1Z", 100_000),
        ("2026-01-31T12:00:00.123456789Z", 123_456),
        ("2026-01-31T14:00:00.5+02:00", 500_000),
        ("2026-01-31T12:00:00", 0),
    ],
)
def test_parse_reads_the_formats_of_engines(text, microsecond):
    assert timestamps.parse(text) == NOON.replace(microsecond=microsecond)


def test_log_time_has_nine_decimals_and_parses_back():
    text = timestamps.log_time(NOON.replace(microsecond=1))
    assert text == "2026-01-31T12:00:00.000001000Z"
    assert timestamps.parse(text) == NOON.replace(microsecond=1)


def test_nine_decimals_makes_times_sortable_as_text():
    shortened = "2026-01-31T12:00:00.12Z"
    assert timestamps.nine_decimals(shortened) == "2026-01-31T12:00:00.120000000Z"
    whole = "2026-01-31T12:00:00.123456789Z"
    assert timestamps.nine_decimals(whole) == whole


def test_json_time_has_milliseconds():
    assert timestamps.json_time(NOON) == "2026-01-31T12:00:00.000Z"
