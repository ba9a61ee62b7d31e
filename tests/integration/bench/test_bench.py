"""How `inv bench` evaluates and shows its figures. Nothing is measured here."""

import contextlib
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from bench import chart, report
from bench.curves import CURVES, Curve
from bench.measure import Goal, Row, measure
from bench.rows import ROWS

GOAL = Goal(2.0)


def row(ours, theirs, goal=GOAL, unit="s"):
    """Return a row whose actions return these figures, one after the other."""

    @contextlib.contextmanager
    def prepare(place):
        yield iter(ours).__next__, iter(theirs).__next__

    return Row("name", "a job", "another", goal, prepare, unit)


def test_measure_returns_medians_ratio_and_spread():
    result = measure(row([1.0, 9.0, 2.0], [1.0, 1.0, 4.0]), None, 3)
    assert result["figures"] == [[1.0, 1.0], [9.0, 1.0], [2.0, 4.0]]
    assert result["ours"] == {"median": 2.0, "min": 1.0, "lower": 1.5, "upper": 5.5, "max": 9.0}
    assert result["theirs"]["median"] == 1.0
    assert result["ratio"] == 2.0
    assert result["pairs"] == 3


@pytest.mark.parametrize(
    ("goal", "ours", "holds"),
    [
        (Goal(2.0), 8.0, True),
        (Goal(2.0), 8.1, False),
        (Goal(0.7, least=True), 2.8, True),
        (Goal(0.7, least=True), 2.7, False),
        (Goal(3.0, difference=True), 7.0, True),
        (Goal(3.0, difference=True), 7.1, False),
    ],
)
def test_goal_holds_within_its_limit(goal, ours, holds):
    assert measure(row([ours] * 2, [4.0] * 2, goal), None, 2)["holds"] is holds


def test_measure_accepts_a_single_pair():
    result = measure(row([3.0], [2.0]), None, 1)
    assert (result["ratio"], result["ours"]["lower"], result["ours"]["max"]) == (1.5, 3.0, 3.0)


def test_measure_alternates_both_sides():
    turns = []

    @contextlib.contextmanager
    def prepare(place):
        yield lambda: turns.append("ours") or 1.0, lambda: turns.append("theirs") or 1.0

    measure(replace(row([], []), prepare=prepare), None, 2)
    assert turns == ["ours", "theirs"] * 2


@pytest.mark.parametrize("error", [ValueError("it broke\nbadly"), pytest.skip.Exception("no a|b")])
def test_measure_returns_the_reason_of_a_failed_row(error):
    @contextlib.contextmanager
    def prepare(place):
        raise error
        yield

    failing = replace(row([], []), prepare=prepare)
    result = measure(failing, None, 2)
    assert result["failed"] in ("it broke", "no a|b")
    (_, _, line) = report.table([failing], {"name": result}).splitlines()
    assert line.count("|") == 8
    assert result["failed"].replace("|", "/") in line


def test_table_shows_figures_ratio_and_goal():
    slow = row([1.0, 2.0, 9.0], [1.0, 1.0, 1.0], Goal(1.5))
    more = row([5.0] * 2, [3.5] * 2, Goal(3.0, difference=True))
    new = replace(row([], []), name="new")
    results = {"slow": measure(slow, None, 3), "more": measure(more, None, 2)}
    rows = [replace(slow, name="slow"), replace(more, name="more"), new]
    assert report.table(rows, results).splitlines()[2:] == [
        "| slow | a job | another | 2 s (1–9) | 1 s (1–1) | 2.00 | ≤ 1.5 **missed** |",
        "| more | a job | another | 5 s (5–5) | 3.5 s (3.5–3.5) | +1.50 s | ≤ 3 s more |",
        "| new | a job | another | not measured yet | | | ≤ 2 |",
    ]


def test_rows_and_curves_have_unique_names():
    names = [benchmark.name for benchmark in (*ROWS, *CURVES)]
    assert len(set(names)) == len(names)


def test_document_shows_the_saved_results():
    results = report.load()
    text = report.DOCUMENT.read_text("utf-8")
    assert report.table(ROWS, results["rows"]) in text
    assert all(f"| {row.name} | {row.job} |" in text for row in ROWS)
    assert report.CHART.read_text("utf-8") == chart.svg(CURVES, results["curves"])
    assert f"]({report.CHART.name})" in text


@pytest.mark.parametrize("logarithmic", [False, True])
def test_chart_shows_every_point(logarithmic):
    sizes = (1, 20, 1000)
    curve = Curve("c", "A <job>", "lines", "s", sizes, None, logarithmic)
    lines = {
        "ours": [[1, 0.1], [20, 2.0], [1000, 80.0]],
        "theirs": [[1, 0.2], [20, 2.1], [1000, 9]],
    }
    svg = ET.fromstring(chart.svg([curve, replace(curve, name="d")], {"c": {"lines": lines}}))
    circles = svg.findall(".//{*}circle")
    assert len(circles) == 6
    assert all(0 < float(c.get("cx")) < chart.WIDTH for c in circles)
    assert all(0 < float(c.get("cy")) < chart.HEIGHT for c in circles)
    heights = [float(c.get("cy")) for c in circles[:3]]
    assert heights == sorted(heights, reverse=True)
    assert {"A <job> (s)", "ours", "theirs"} <= {t.text for t in svg.findall(".//{*}text")}
