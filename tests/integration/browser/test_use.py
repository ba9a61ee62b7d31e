"""The page for people: with a keyboard, a screen reader, a small screen, in light and dark."""

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
WIDTHS = (320, 360, 640, 768, 1280)  # CSS pixels; 320 and 640 are 1280 at 400 % and at 200 %


@pytest.fixture(scope="module")
def deals(site: Site) -> int:
    """More than one page of deals; their number."""
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
        wait_until("the scout is back", lambda: client.get("/deals").json()["total"] == 37)
        return 37


@pytest.fixture
def page(page: Page, deals: int) -> Iterator[Page]:
    """The page with its deals."""
    expect(page.locator("#range")).to_have_text(f"1–20 of {deals}")
    return page


def focused(page: Page) -> str:
    """The id of the element with the focus, or its text."""
    return page.evaluate("document.activeElement.id || document.activeElement.textContent")


def tab_to(page: Page, name: str, key: str = "Tab") -> None:
    for _ in range(60):
        page.keyboard.press(key)
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        if focused(page) == name:
            return
    raise AssertionError(f"{name} is out of reach")


def test_everything_can_be_done_with_the_keyboard(page: Page) -> None:
    page.keyboard.press("Tab")
    assert focused(page) == "q"
    page.keyboard.type("lamp 1")
    expect(page.locator("#range")).to_have_text("1–9 of 9")
    assert focused(page) == "q"
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.press("Backspace")
    expect(page.locator("#range")).to_have_text("1–20 of 37")
    assert page.evaluate("said.slice(-2)") == ["Deals 1–9 of 9", "Deals 1–20 of 37"]

    page.keyboard.press("Tab")
    assert focused(page) == "scout"
    page.keyboard.press("Space")
    sent = re.compile(r"A scout is on its way \(feed: sample\)")
    expect(page.locator("#scouted")).to_have_text(sent)
    assert sent.search(page.evaluate("said.at(-1)"))

    tab_to(page, "next")
    page.keyboard.press("Enter")
    expect(page.locator("#range")).to_have_text("21–37 of 37")
    assert focused(page) == "next"
    expect(page.locator("#next")).to_have_attribute("aria-disabled", "true")
    page.keyboard.press("Enter")  # there is no page after it
    page.keyboard.press("Shift+Tab")
    while focused(page) != "previous":
        page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")
    expect(page.locator("#range")).to_have_text("1–20 of 37")
    assert "offset" not in page.url


def test_the_focus_is_not_lost_with_what_held_it(page: Page) -> None:
    failure = '{"detail": "the database is not available"}'
    page.route("**/api/deals?*", lambda route: route.fulfill(status=503, body=failure))
    page.locator("#q").fill("lamp")
    told = "The deals could not be loaded: the database is not available."
    expect(page.locator("#failure span")).to_have_text(told)
    assert told in page.evaluate("said")
    page.get_by_role("button", name="Try again").focus()
    page.unroute("**/api/deals?*")
    page.keyboard.press("Enter")
    expect(page.locator("#failure")).to_be_hidden()
    assert focused(page) == "deals-heading"


def test_what_a_screen_reader_finds(page: Page) -> None:
    expect(page.locator("body")).to_match_aria_snapshot("""
      - banner:
        - heading "deal-scout" [level=1]
      - main:
        - 'region "The stack: Healthy"':
          - 'heading "The stack: Healthy" [level=2]'
          - paragraph: Everything answers, and the schema is current.
          - paragraph:
            - text: Checked
            - time
          - term: Database
          - definition: answers
          - term: Redis
          - definition: answers
          - term: Queue
          - definition: /\\d+ waiting/
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
            - text: /Began at [\\d:]+,/
            - time
            - text: /; it served after [\\d.]+ s\\./
          - table "Last boot":
            - rowgroup:
              - row "Phase Took Attempts Outcome"
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
def test_rules_of_accessibility(page: Page, scheme: str) -> None:
    """In every state: names, sizes, contrast, and nothing beyond the edge at any width."""
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
