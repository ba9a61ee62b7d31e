"""The files of the page, without a browser."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from tests.integration.frontend.conftest import FRONTEND

PUBLIC = FRONTEND / "public"
HTML = (PUBLIC / "index.html").read_text("utf-8")
CSS = (PUBLIC / "style.css").read_text("utf-8")
JS = "\n".join(path.read_text("utf-8") for path in sorted(PUBLIC.glob("*.js")))
STATES = ("healthy", "starting", "degraded", "unhealthy", "unreachable")
VOID = {"meta", "link", "input", "br", "hr", "img"}


class Page(HTMLParser):
    """The elements of a page as (tag, attributes). Fails if a tag is not closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"<{tag}> has a duplicate attribute"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> at {self.getpos()} closes another tag"

    def all(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag in tags]


PAGE = Page(HTML)
IDS = [str(attributes["id"]) for _, attributes in PAGE.elements if "id" in attributes]


def test_page_has_a_valid_head() -> None:
    assert HTML.startswith("<!doctype html>")
    assert PAGE.all("html")[0]["lang"] == "en"
    assert {"charset": "utf-8"} in PAGE.all("meta")
    viewport = next(meta for meta in PAGE.all("meta") if meta.get("name") == "viewport")
    assert viewport["content"] == "width=device-width, initial-scale=1"
    assert "<title>deal-scout</title>" in HTML


def test_page_has_no_inline_scripts_and_styles() -> None:
    # The content security policy does not allow them.
    assert not PAGE.all("style")
    assert all(script.get("src") for script in PAGE.all("script"))
    assert re.search(r"<script[^>]*>\s*</script>", HTML)
    for tag, attributes in PAGE.elements:
        assert "style" not in attributes, tag
        assert not [name for name in attributes if name.startswith("on")], tag
        assert not (attributes.get("href") or "").startswith("javascript:"), tag


def test_page_refers_only_to_existing_files_and_ids() -> None:
    for _, attributes in PAGE.elements:
        for name in ("src", "href"):
            address = attributes.get(name)
            if address is None or address.startswith("api/"):
                continue
            if address.startswith("#"):
                assert address[1:] in IDS
            else:
                assert (PUBLIC / address).is_file(), address
        for name in ("for", "aria-labelledby", "aria-describedby"):
            for id in (attributes.get(name) or "").split():
                assert id in IDS, f"{name}={id}"
    assert "url(" not in CSS
    assert "@import" not in CSS


def test_page_loads_nothing_from_other_sites() -> None:
    for text in (HTML, CSS, JS):
        assert not re.search(r"https?://|[\"']//", text)


def test_page_has_unique_ids_including_those_in_scripts() -> None:
    assert len(set(IDS)) == len(IDS)
    ids_in_scripts = set(re.findall(r'\$\("([^"]+)"\)', JS))
    assert ids_in_scripts
    assert ids_in_scripts <= set(IDS)


def test_page_has_accessible_names() -> None:
    labelled = {label["for"] for label in PAGE.all("label")}
    for field in PAGE.all("input", "select", "textarea"):
        assert field["id"] in labelled
    for image in PAGE.all("img"):
        assert "alt" in image
    for button in PAGE.all("button"):
        assert button["type"] in ("button", "submit")
    assert not re.search(r"<button[^>]*>\s*</button>", HTML)
    for part in PAGE.all("nav", "section", "table"):
        assert part.get("aria-label") or part.get("aria-labelledby")


def test_page_has_landmarks_and_headings() -> None:
    for tag in ("header", "main", "h1"):
        assert len(PAGE.all(tag)) == 1, tag
    levels = [int(tag[1]) for tag, _ in PAGE.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert all(later - earlier <= 1 for earlier, later in pairwise(levels))


def test_page_has_a_polite_live_region() -> None:
    live = next(attributes for _, attributes in PAGE.elements if attributes.get("id") == "live")
    assert live["aria-live"] == "polite"
    assert 'aria-live="assertive"' not in HTML


@pytest.mark.parametrize("state", STATES)
def test_page_shows_a_state_as_text_and_icon_and_colour(state: str) -> None:
    assert f"icon-{state}" in IDS
    assert re.search(rf'{state}: "{state.title()}"', JS)
    assert f'data-state="{state}"' in CSS


def test_scripts_insert_data_as_text_only() -> None:
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|Function\(|srcdoc", JS
    )
    assert "noopener noreferrer" in JS


def test_favicon_has_only_shapes() -> None:
    favicon = Page((PUBLIC / "favicon.svg").read_text("utf-8"))
    assert {tag for tag, _ in favicon.elements} <= {"svg", "circle", "path"}


def brightness(colour: str) -> float:
    """Return the relative luminance as defined by WCAG 2."""

    def linear(value: float) -> float:
        return value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(int(colour[at : at + 2], 16) / 255) for at in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((brightness(one), brightness(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_have_enough_contrast(theme: str) -> None:
    """WCAG AA: 4.5 for text, 3 for the edges of controls."""
    light, dark = CSS.split("@media (prefers-color-scheme: dark)")
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", light if theme == "light" else dark))
    for state in STATES:
        for text, ground in ((state, f"{state}-tint"), (state, "paper"), ("ink", f"{state}-tint")):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
        assert contrast(colours["muted"], colours[f"{state}-tint"]) >= 4.5, state
    for text in ("ink", "muted", "link"):
        for ground in ("page", "paper"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    assert contrast(colours["edge"], colours["paper"]) >= 3


def test_animations_respect_reduced_motion() -> None:
    # Every animation is inside a media query for users without that preference.
    before, _, after = CSS.partition("@media (prefers-reduced-motion: no-preference)")
    assert "animation:" not in before
    assert after.count("animation:") == 2
    assert ":focus-visible" in CSS
    assert "outline: none" not in CSS


def test_dockerfile_substitutes_the_variables_of_the_template() -> None:
    template = (FRONTEND / "nginx.conf.template").read_text("utf-8")
    dockerfile = (FRONTEND / "Dockerfile").read_text("utf-8")
    names = set(re.findall(r"\$\{(\w+)\}", template))
    assert names == {"BACKEND_URL", "NGINX_LOCAL_RESOLVERS"}
    substituted = re.search(r"NGINX_ENVSUBST_FILTER=\^\((.*)\)\$", dockerfile)
    assert substituted
    assert set(substituted[1].split("|")) == names
