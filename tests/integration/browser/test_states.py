"""What the page shows while services of the stack fail and recover."""

from __future__ import annotations

import os
import re
import signal

import pytest
from playwright.sync_api import Page, expect

from tests.integration.browser.conftest import Site

pytestmark = pytest.mark.slow


HEALTHY = "All dependencies answer, and the schema is current."


def wait_for_state(page: Page, state: str, sentence: str | re.Pattern[str]) -> None:
    """Wait until every part of the page shows a state."""
    expect(page.locator("#state")).to_have_text(state)
    expect(page.locator("#sentence")).to_have_text(sentence)
    expect(page).to_have_title(f"{state} – deal-scout")
    expect(page.locator("#stack")).to_have_attribute("data-state", state.lower())
    expect(page.locator("#icon")).to_have_attribute("href", f"#icon-{state.lower()}")


def announcements(page: Page) -> list[str]:
    """Return the announcements to screen readers about the stack."""
    states = ("Healthy", "Starting", "Degraded", "Unhealthy", "Unreachable")
    return [text for text in page.evaluate("announcements") if text.startswith(states)]


def phases(page: Page) -> list[list[str]]:
    """Return the cells of the phases of the last boot."""
    rows = page.get_by_role("table", name=re.compile("oot")).get_by_role("row").all()
    return [row.locator("th, td").all_inner_texts() for row in rows[1:]]


def changes(page: Page) -> list[str]:
    return [text.partition(" ")[2] for text in page.locator("#history li").all_inner_texts()]


def test_page_shows_a_database_outage(page: Page, site: Site) -> None:
    wait_for_state(page, "Healthy", HEALTHY)
    for detail in ("db", "redis", "schema", "worker", "beat"):
        expect(page.locator(f"#{detail}")).to_have_attribute("data-mark", "good")
    expect(page.locator("#queue")).to_have_text(re.compile(r"\d+ unfinished"))
    expect(page.locator("#worker")).to_have_text(re.compile(r"seen \d+ s ago"))
    expect(page.locator("#boot-heading")).to_have_text("Last boot")
    assert [row[0] for row in phases(page)] == ["Database", "Migrations", "Application"]
    assert [row[3] for row in phases(page)] == ["answered", "applied", "serving"]
    assert all(re.fullmatch(r"\d+\.\d s|\d+ s", row[1]) for row in phases(page))

    site.postgres.freeze()
    try:
        wait_for_state(page, "Unhealthy", "The database does not answer.")
        expect(page.locator("#db")).to_have_text("no answer")
        expect(page.locator("#db")).to_have_attribute("data-mark", "bad")
        expect(page.locator("#redis")).to_have_text("answers")
    finally:
        site.postgres.thaw()
    wait_for_state(page, "Healthy", HEALTHY)
    assert announcements(page) == [
        f"Healthy. {HEALTHY}",
        "Unhealthy. The database does not answer.",
        f"Healthy. {HEALTHY}",
    ]
    assert changes(page) == ["Unhealthy → Healthy", "Healthy → Unhealthy"]
    expect(page.locator("#failure")).to_be_hidden()


def test_page_shows_a_worker_that_hangs(page: Page, site: Site) -> None:
    os.killpg(site.worker.process.pid, signal.SIGSTOP)
    try:
        # As if the worker had hung for five minutes.
        site.redis.client().expire("deal-scout:heartbeat:worker", 86_400 - 300)
        expect(page.locator("#worker")).to_have_text("last seen 5 min ago")
        expect(page.locator("#worker")).to_have_attribute("data-mark", "bad")
        expect(page.locator("#beat")).to_have_attribute("data-mark", "good")
        sentence = f"{HEALTHY} The worker sends no heartbeat."
        wait_for_state(page, "Healthy", sentence)
    finally:
        os.killpg(site.worker.process.pid, signal.SIGCONT)
    expect(page.locator("#worker")).to_have_text(re.compile(r"seen \d+ s ago"))
    wait_for_state(page, "Healthy", HEALTHY)
    assert announcements(page)[1] == f"Healthy. {sentence}"


def test_page_shows_a_backend_outage_and_a_boot(page: Page, site: Site) -> None:
    hold = site.boot.folder / "hold"
    site.stop()
    outage = r"Since \d\d:\d\d:\d\d: the backend does not answer\. Last known state: healthy\."
    wait_for_state(page, "Unreachable", re.compile(outage))
    expect(page.locator("#stale")).to_have_text(re.compile(r"The last known values, from \d\d:"))
    assert phases(page)[2][3] == "serving"

    site.postgres.freeze()
    hold.touch()
    try:
        site.start(DB_WAIT_TIMEOUT="600")
        waiting = re.compile(r"The backend is waiting for the database, attempt \d+ of 600\.")
        wait_for_state(page, "Starting", waiting)
        expect(page.locator("#stale")).to_be_hidden()
        expect(page.locator("#boot-heading")).to_have_text("Boot in progress")
        assert [row[3] for row in phases(page)] == ["in progress", "pending", "pending"]
        first = page.locator("#sentence").inner_text()
        expect(page.locator("#sentence")).not_to_have_text(first)  # it counts the attempts
        site.postgres.thaw()
        wait_for_state(page, "Starting", "The backend is migrating the schema, attempt 1 of 6.")
        assert [row[3] for row in phases(page)] == ["answered", "in progress", "pending"]
        assert int(phases(page)[0][2]) >= 1
    finally:
        site.postgres.thaw()
        hold.unlink()
    wait_for_state(page, "Healthy", HEALTHY)
    expect(page.locator("#boot-heading")).to_have_text("Last boot")
    assert [row[3] for row in phases(page)] == ["answered", "applied", "serving"]
    # The last phase takes about a second and may fall between two polls.
    fleeting = "Starting. The application is starting."
    texts = [text for text in announcements(page) if text != fleeting]
    assert texts[1].startswith("Unreachable. Since ")
    assert texts[2:] == [
        "Starting. The backend is waiting for the database.",  # once, not for each attempt
        "Starting. The backend is migrating the schema, attempt 1 of 6.",
        f"Healthy. {HEALTHY}",
    ]
    assert changes(page)[::-1] == [
        "Healthy → Unreachable",
        "Unreachable → Starting",
        "Starting → Healthy",
    ]


def test_page_shows_a_degraded_start_and_its_recovery(page: Page, site: Site) -> None:
    invalid_revision = site.boot.folder / "alembic" / "versions" / "9999_broken.py"
    site.stop()
    invalid_revision.write_text("this is no Python\n")
    try:
        site.start(MIGRATE_DELAYS="0.1 0.5")
        sentence = "The backend is running, but the schema is not current: its migration failed."
        wait_for_state(page, "Degraded", sentence)
        expect(page.locator("#schema")).to_have_text("failed")
        row = phases(page)[1]
        assert (row[0], row[2], row[3]) == ("Migrations", "2", "failed")
        # The deals are still available.
        expect(page.locator("#failure")).to_be_hidden()
    finally:
        invalid_revision.unlink()
    wait_for_state(page, "Healthy", HEALTHY)
    assert phases(page)[1][3] == "failed, applied later"
    assert f"Degraded. {sentence}" in announcements(page)


def test_page_shows_a_redis_outage(page: Page, site: Site) -> None:
    site.redis.freeze()
    try:
        wait_for_state(page, "Unhealthy", "Redis does not answer.")
        for detail in ("queue", "worker", "beat"):
            expect(page.locator(f"#{detail}")).to_have_text("unknown")
    finally:
        site.redis.thaw()
    wait_for_state(page, "Healthy", re.compile(HEALTHY))
