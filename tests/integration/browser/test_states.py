"""What the page shows while the stack is harmed and healed."""

from __future__ import annotations

import os
import re
import signal

import pytest
from playwright.sync_api import Page, expect

from tests.integration.browser.conftest import Site

pytestmark = pytest.mark.slow


def shows(page: Page, state: str, sentence: str | re.Pattern[str]) -> None:
    """Wait for a state, and see that everything which names it agrees."""
    expect(page.locator("#state")).to_have_text(state)
    expect(page.locator("#sentence")).to_have_text(sentence)
    expect(page).to_have_title(f"{state} – deal-scout")
    expect(page.locator("#stack")).to_have_attribute("data-state", state.lower())
    expect(page.locator("#icon")).to_have_attribute("href", f"#icon-{state.lower()}")


def said(page: Page) -> list[str]:
    """What screen readers were told about the stack."""
    states = ("Healthy", "Starting", "Degraded", "Unhealthy", "Unreachable")
    return [text for text in page.evaluate("said") if text.startswith(states)]


def phases(page: Page) -> list[list[str]]:
    """The cells of the last boot's phases."""
    rows = page.get_by_role("table", name=re.compile("oot")).get_by_role("row").all()
    return [row.locator("th, td").all_inner_texts() for row in rows[1:]]


def changes(page: Page) -> list[str]:
    return [text.partition(" ")[2] for text in page.locator("#history li").all_inner_texts()]


def test_the_database_goes_away_and_comes_back(page: Page, site: Site) -> None:
    shows(page, "Healthy", "Everything answers, and the schema is current.")
    for detail in ("db", "redis", "schema", "worker", "beat"):
        expect(page.locator(f"#{detail}")).to_have_attribute("data-mark", "good")
    expect(page.locator("#queue")).to_have_text(re.compile(r"\d+ waiting"))
    expect(page.locator("#worker")).to_have_text(re.compile(r"seen \d+ s ago"))
    expect(page.locator("#boot-heading")).to_have_text("Last boot")
    assert [row[0] for row in phases(page)] == ["Database", "Migrations", "Application"]
    assert [row[3] for row in phases(page)] == ["answered", "applied", "serving"]
    assert all(re.fullmatch(r"\d+\.\d s|\d+ s", row[1]) for row in phases(page))

    site.postgres.freeze()
    try:
        shows(page, "Unhealthy", "The database does not answer.")
        expect(page.locator("#db")).to_have_text("no answer")
        expect(page.locator("#db")).to_have_attribute("data-mark", "bad")
        expect(page.locator("#redis")).to_have_text("answers")
    finally:
        site.postgres.thaw()
    shows(page, "Healthy", "Everything answers, and the schema is current.")
    assert said(page) == [
        "Healthy. Everything answers, and the schema is current.",
        "Unhealthy. The database does not answer.",
        "Healthy. Everything answers, and the schema is current.",
    ]
    assert changes(page) == ["Unhealthy → Healthy", "Healthy → Unhealthy"]
    expect(page.locator("#failure")).to_be_hidden()


def test_a_worker_that_hangs_is_missed(page: Page, site: Site) -> None:
    os.killpg(site.worker.process.pid, signal.SIGSTOP)
    try:
        # As if it had hung for five minutes.
        site.redis.client().expire("deal-scout:heartbeat:worker", 86_400 - 300)
        expect(page.locator("#worker")).to_have_text("silent for 5 min")
        expect(page.locator("#worker")).to_have_attribute("data-mark", "bad")
        expect(page.locator("#beat")).to_have_attribute("data-mark", "good")
        missed = (
            "Everything answers, and the schema is current. But the worker gives no sign of life."
        )
        shows(page, "Healthy", missed)
    finally:
        os.killpg(site.worker.process.pid, signal.SIGCONT)
    expect(page.locator("#worker")).to_have_text(re.compile(r"seen \d+ s ago"))
    shows(page, "Healthy", "Everything answers, and the schema is current.")
    assert said(page)[1] == f"Healthy. {missed}"


def test_the_backend_goes_away_and_a_boot_is_watched(page: Page, site: Site) -> None:
    hold = site.boot.folder / "hold"
    site.stop()
    shows(
        page,
        "Unreachable",
        re.compile(r"Since \d\d:\d\d:\d\d: the backend does not answer\. Last known: healthy\."),
    )
    expect(page.locator("#stale")).to_have_text(re.compile(r"The last known values, from \d\d:"))
    assert phases(page)[2][3] == "serving"

    site.postgres.freeze()
    hold.touch()
    try:
        site.start(DB_WAIT_TIMEOUT="600")
        waits = re.compile(r"The backend is waiting for the database, attempt \d+ of 600\.")
        shows(page, "Starting", waits)
        expect(page.locator("#stale")).to_be_hidden()
        expect(page.locator("#boot-heading")).to_have_text("Boot in progress")
        assert [row[3] for row in phases(page)] == ["under way", "to come", "to come"]
        first = page.locator("#sentence").inner_text()
        expect(page.locator("#sentence")).not_to_have_text(first)  # it counts
        site.postgres.thaw()
        shows(page, "Starting", "The backend is migrating the schema, attempt 1 of 6.")
        assert [row[3] for row in phases(page)] == ["answered", "under way", "to come"]
        assert int(phases(page)[0][2]) >= 1
    finally:
        site.postgres.thaw()
        hold.unlink()
    shows(page, "Healthy", "Everything answers, and the schema is current.")
    expect(page.locator("#boot-heading")).to_have_text("Last boot")
    assert [row[3] for row in phases(page)] == ["answered", "applied", "serving"]
    # It takes a second or so, which may fall between two looks.
    told = [text for text in said(page) if text != "Starting. The application is starting."]
    assert told[1].startswith("Unreachable. Since ")
    assert told[2:] == [
        "Starting. The backend is waiting for the database.",  # once, not for each attempt
        "Starting. The backend is migrating the schema, attempt 1 of 6.",
        "Healthy. Everything answers, and the schema is current.",
    ]
    assert changes(page)[::-1] == [
        "Healthy → Unreachable",
        "Unreachable → Starting",
        "Starting → Healthy",
    ]


def test_a_degraded_start_that_heals(page: Page, site: Site) -> None:
    broken = site.boot.folder / "alembic" / "versions" / "9999_broken.py"
    site.stop()
    broken.write_text("this is no Python\n")
    try:
        site.start(MIGRATE_DELAYS="0.1 0.5")
        failed = "It serves, but the schema is not current: its migration failed."
        shows(page, "Degraded", failed)
        expect(page.locator("#schema")).to_have_text("failed")
        row = phases(page)[1]
        assert (row[0], row[2], row[3]) == ("Migrations", "2", "failed")
        # The deals are there all the same.
        expect(page.locator("#failure")).to_be_hidden()
    finally:
        broken.unlink()
    shows(page, "Healthy", "Everything answers, and the schema is current.")
    assert phases(page)[1][3] == "failed, applied since"
    assert f"Degraded. {failed}" in said(page)


def test_redis_goes_away_and_comes_back(page: Page, site: Site) -> None:
    site.redis.freeze()
    try:
        shows(page, "Unhealthy", "Redis does not answer.")
        for detail in ("queue", "worker", "beat"):
            expect(page.locator(f"#{detail}")).to_have_text("not known")
    finally:
        site.redis.thaw()
    shows(page, "Healthy", re.compile("Everything answers, and the schema is current."))
