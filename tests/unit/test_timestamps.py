"""Times as text, with whatever decimals and offset an engine writes."""

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
def test_parse_reads_what_engines_write(text, microsecond):
    assert timestamps.parse(text) == NOON.replace(microsecond=microsecond)


def test_log_time_has_nine_decimals_and_is_parsed_again():
    text = timestamps.log_time(NOON.replace(microsecond=1))
    assert text == "2026-01-31T12:00:00.000001000Z"
    assert timestamps.parse(text) == NOON.replace(microsecond=1)


def test_nine_decimals_makes_the_order_of_texts_that_of_times():
    shortened = "2026-01-31T12:00:00.12Z"
    assert timestamps.nine_decimals(shortened) == "2026-01-31T12:00:00.120000000Z"
    whole = "2026-01-31T12:00:00.123456789Z"
    assert timestamps.nine_decimals(whole) == whole


def test_json_time_has_milliseconds():
    assert timestamps.json_time(NOON) == "2026-01-31T12:00:00.000Z"
