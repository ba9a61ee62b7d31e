"""The use of the page: by keyboard, with a screen reader, on small screens, light and dark."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from harness.servers import wait_until
from tests.integration.browser.conftest import Site

pytestmark = pytest.mark.slow

CHECKS = (Path(__file__).parent / "checks.js").read_text("utf-8")
WIDTHS = (320, 360, 640, 768, 1280)  # CSS pixels; 320 and 640 are 1280 at 400 % and 200 % zoom


@pytest.fixture(scope="module")
def deals(site: Site) -> int:
    """Add more than one page of deals and return their number."""
    with httpx.Client(base_url=f"{site.url}/api", trust_env=False) as client:
        for number in range(25):
            deal = {
                "title": f"Lamp {number}" if number % 5 else "A long name " * 8,
                "url": f"https://shop.example/{number}",
                "price": "19.90",
                "currency": "EUR",
                "source": "shop.example",
            }
            assert client.post("/deals", json=deal).status_code == 201
        assert client.post("/scouts", json={}).status_code == 202
        wait_until("the feed is stored", lambda: client.get("/deals").json()["total"] == 37)
        return 37


@pytest.fixture
def page(page: Page, deals: int) -> Iterator[Page]:
    """Open the page and wait for its deals."""
    expect(page.locator("#range")).to_have_text(f"1–20 of {deals}")
    return page


def focused(page: Page) -> str:
    """Return the id of the focused element, or its text."""
    return page.evaluate("document.activeElement.id || document.activeElement.textContent")


def tab_to(page: Page, name: str, key: str = "Tab") -> None:
    for _ in range(60):
        page.keyboard.press(key)
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        if focused(page) == name:
            return
    raise AssertionError(f"{name} cannot be focused")


def test_page_works_with_the_keyboard(page: Page) -> None:
    page.keyboard.press("Tab")
    assert focused(page) == "q"
    page.keyboard.type("lamp 1")
    expect(page.locator("#range")).to_have_text("1–9 of 9")
    assert focused(page) == "q"
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.press("Backspace")
    expect(page.locator("#range")).to_have_text("1–20 of 37")
    latest = page.evaluate("announcements.slice(-2)")
    assert latest == ["Deals 1–9 of 9", "Deals 1–20 of 37"]

    page.keyboard.press("Tab")
    assert focused(page) == "scout"
    page.keyboard.press("Space")
    scout_sent = re.compile(r"Scout sent \(feed: sample\)")
    expect(page.locator("#scouted")).to_have_text(scout_sent)
    assert scout_sent.search(page.evaluate("announcements.at(-1)"))

    tab_to(page, "next")
    page.keyboard.press("Enter")
    expect(page.locator("#range")).to_have_text("21–37 of 37")
    assert focused(page) == "next"
    expect(page.locator("#next")).to_have_attribute("aria-disabled", "true")
    page.keyboard.press("Enter")  # this is the last page
    page.keyboard.press("Shift+Tab")
    while focused(page) != "previous":
        page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")
    expect(page.locator("#range")).to_have_text("1–20 of 37")
    assert "offset" not in page.url


def test_page_keeps_the_focus_when_the_retry_button_disappears(page: Page) -> None:
    failure = '{"detail": "the database is not available"}'
    page.route("**/api/deals?*", lambda route: route.fulfill(status=503, body=failure))
    page.locator("#q").fill("lamp")
    text = "The deals could not be loaded: the database is not available."
    expect(page.locator("#failure span")).to_have_text(text)
    assert text in page.evaluate("announcements")
    page.get_by_role("button", name="Try again").focus()
    page.unroute("**/api/deals?*")
    page.keyboard.press("Enter")
    expect(page.locator("#failure")).to_be_hidden()
    assert focused(page) == "deals-heading"


def test_page_has_this_accessibility_tree(page: Page) -> None:
    expect(page.locator("body")).to_match_aria_snapshot("""
      - banner:
        - heading "deal-scout" [level=1]
      - main:
        - 'region "The stack: Healthy"':
          - 'heading "The stack: Healthy" [level=2]'
          - paragraph: All dependencies answer, and the schema is current.
          - paragraph:
            - text: Checked
            - time
          - term: Database
          - definition: answers
          - term: Redis
          - definition: answers
          - term: Queue
          - definition: /\\d+ unfinished/
          - term: Schema
          - definition: current
          - term: Worker
          - definition: /seen \\d+ s ago/
          - term: Beat
          - definition: /seen \\d+ s ago/
          - term: Version
          - definition: /[\\d.]+/
          - heading "Last boot" [level=3]
          - paragraph:
            - text: /Started at [\\d:]+,/
            - time
            - text: /; ready after [\\d.]+ s\\./
          - table "Last boot":
            - rowgroup:
              - row "Phase Duration Attempts Outcome"
            - rowgroup:
              - row /Database .* answered/:
                - rowheader "Database"
              - row /Migrations .* applied/
              - row /Application .* serving/
        - region "Deals":
          - heading "Deals" [level=2]
          - search:
            - searchbox "Search deals"
          - button "Scout now"
          - table "Deals":
            - rowgroup:
              - row "Title Price Source Found":
                - columnheader "Title"
          - navigation "Pages of deals":
            - button "Previous" [disabled]
            - button "Next"
        - log "Announcements"
    """)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_passes_the_accessibility_checks(page: Page, scheme: str) -> None:
    """Names, sizes and contrast in every state, and no overflow at any width."""
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    backgrounds = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (backgrounds == "rgb(245, 246, 248)") == (scheme == "light")
    for state in ("healthy", "starting", "degraded", "unhealthy", "unreachable"):
        page.evaluate("state => document.getElementById('stack').dataset.state = state", state)
        assert page.evaluate(CHECKS) == [], state
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(CHECKS) == [], width
