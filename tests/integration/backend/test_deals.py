"""The endpoints for deals, on a real database."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from harness import servers
from tests.integration.backend import processes
from tests.integration.backend.processes import Api

LAMP = {
    "title": "A lamp",
    "url": "https://shop.example/lamp",
    "price": "19.99",
    "currency": "EUR",
    "source": "shop.example",
}


@pytest.fixture(autouse=True)
def no_deals(
    api: Api, postgres: servers.Postgres, module_environment: dict[str, str]
) -> Iterator[None]:
    with contextlib.closing(postgres.connect(module_environment["POSTGRES_DB"])) as connection:
        connection.cursor().execute("DELETE FROM deals")
    yield
    assert "Traceback" not in api.process.log()


def add(api: Api, **changes: object) -> dict[str, object]:
    response = api.post("/deals", json=LAMP | changes)
    assert response.status_code == 201, response.text
    return response.json()


def titles(api: Api, **query: object) -> list[str]:
    response = api.get("/deals", params=query)
    assert response.status_code == 200, response.text
    return [deal["title"] for deal in response.json()["items"]]


def test_deal_is_added_returned_and_deleted(api: Api) -> None:
    response = api.post("/deals", json=LAMP | {"found_at": "2024-01-31T13:00:00+01:00"})
    deal = response.json()
    assert deal == LAMP | {"id": deal["id"], "found_at": "2024-01-31T12:00:00Z"}
    path = response.headers["Location"]
    assert path == f"/deals/{deal['id']}"
    assert api.get(path).json() == deal
    assert api.delete(path).status_code == 204
    assert api.get(path).status_code == 404
    assert api.delete(path).json() == {"detail": "there is no such deal"}


def test_add_deal_rejects_a_duplicate_url(api: Api) -> None:
    add(api)
    response = api.post("/deals", json=LAMP | {"url": "HTTPS://Shop.Example:443/lamp"})
    assert response.status_code == 409
    assert response.json() == {"detail": "a deal with this URL exists"}


def test_list_deals_returns_pages_newest_first(api: Api) -> None:
    for day in (3, 1, 2):
        url = f"https://shop.example/{day}"
        add(api, title=f"day {day}", url=url, found_at=f"2024-01-0{day}T00:00:00Z")
    assert titles(api) == ["day 3", "day 2", "day 1"]
    page = api.get("/deals", params={"limit": 1, "offset": 1}).json()
    assert [deal["title"] for deal in page.pop("items")] == ["day 2"]
    assert page == {"total": 3, "limit": 1, "offset": 1}
    assert titles(api, offset=3) == []


def test_list_deals_filters(api: Api) -> None:
    add(api, title="100% wool", url="https://a.example/1", price=10, source="a")
    add(api, title="Woollen_hat", url="https://a.example/2", price=20, source="b")
    add(api, title="hat", url="https://a.example/3", price=30.5, currency="USD", source="b")
    assert titles(api, source="b") == ["hat", "Woollen_hat"]
    assert titles(api, currency="USD") == ["hat"]
    assert titles(api, min_price="20", max_price="30.50") == ["hat", "Woollen_hat"]
    assert titles(api, max_price="0") == []
    assert titles(api, q="WOOL") == ["Woollen_hat", "100% wool"]
    assert titles(api, q="%") == ["100% wool"]
    assert titles(api, q="_") == ["Woollen_hat"]


@pytest.mark.parametrize(
    "change",
    [
        {"title": ""},
        {"title": " \t "},
        {"title": "a\0b"},
        {"title": "a" * 301},
        {"title": "\ud800"},
        {"title": None},
        {"url": "ftp://shop.example/lamp"},
        {"url": "file:///etc/passwd"},
        {"url": "https://me:secret@shop.example/lamp"},
        {"url": "https://shop.example/" + "é" * 1000},
        {"url": "http://[::1"},
        {"price": "nan"},
        {"price": "1e3"},
        {"price": True},
        {"price": -0.01},
        {"price": 0.001},
        {"price": 10**10},
        {"currency": "eur"},
        {"currency": "EURO"},
        {"found_at": 1700000000},
        {"found_at": "2024-01-31T12:00:00"},
        {"found_at": "0001-01-01T00:00:00+14:00"},
        {"found_at": "9999-12-31T23:59:59-14:00"},
        {"id": 1},
        {"\ud800": 1},
    ],
)
def test_add_deal_rejects_invalid_fields(api: Api, change: dict[str, object]) -> None:
    body = json.dumps(LAMP | change).encode()  # in ASCII: httpx would reject surrogates
    response = api.post("/deals", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"][0] == "body"
    assert "secret" not in response.text


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "9" * 5000])
def test_add_deal_rejects_json_numbers_out_of_range(api: Api, number: str) -> None:
    body = json.dumps(LAMP | {"price": 0}).replace('"price": 0', f'"price": {number}')
    response = api.post("/deals", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code in (400, 422)


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b'"\xff"', b"null", b"[]", b"\0"])
def test_add_deal_rejects_invalid_bodies(api: Api, body: bytes) -> None:
    response = api.post("/deals", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code in (400, 422)


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=x",
        "offset=-1",
        "offset=99999999999999999999999",
        "min_price=inf",
        "max_price=-1",
        "currency=e",
        "q=%00",
        "q=" + "x" * 301,
        "nonsense=1",
    ],
)
def test_list_deals_rejects_invalid_queries(api: Api, query: str) -> None:
    assert api.get(f"/deals?{query}").status_code == 422


@pytest.mark.parametrize("id", ["0", "-1", "x", "1.5", str(2**63), "9" * 5000, "%00"])
def test_deal_rejects_invalid_ids(api: Api, id: str) -> None:
    assert api.get(f"/deals/{id}").status_code == 422
    assert api.delete(f"/deals/{id}").status_code == 422


def test_add_deal_accepts_the_limits_of_every_field(api: Api) -> None:
    deal = add(
        api,
        title="t" * 300,
        url="https://shop.example/" + "x" * 1979,
        price=9999999999.99,
        found_at="9999-12-31T23:59:59.999999Z",
    )
    assert (deal["price"], deal["found_at"]) == ("9999999999.99", "9999-12-31T23:59:59.999999Z")
    add(api, url="https://shop.example/old", found_at="0001-01-01T00:00:00Z")
    assert len(titles(api)) == 2
    assert titles(api, q="%ff", offset=1_000_000) == []
    assert api.get(f"/deals/{2**63 - 1}").status_code == 404


def test_openapi_documents_every_status(api: Api) -> None:
    paths = api.get("/openapi.json").json()["paths"]
    assert set(paths["/deals"]["post"]["responses"]) == {"201", "400", "409", "422", "503"}
    assert set(paths["/deals/{id}"]["delete"]["responses"]) == {"204", "404", "422", "503"}
    assert set(paths["/scouts"]["post"]["responses"]) == {"202", "400", "422", "503"}
    assert set(paths["/ready"]["get"]["responses"]) == {"200", "422", "503"}
    for probe in ("/health", "/overview"):
        assert set(paths[probe]["get"]["responses"]) == {"200", "503"}


def test_deals_answer_503_without_tables(environment: dict[str, str], tmp_path: Path) -> None:
    """After a degraded start the application serves, but the schema is missing."""
    with processes.serving(environment, tmp_path) as api:
        responses: list[httpx.Response] = [
            api.get("/deals"),
            api.get("/deals/1"),
            api.delete("/deals/1"),
            api.post("/deals", json=LAMP),
        ]
        for response in responses:
            assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
            assert response.json() == {"detail": "the database is not available"}
        assert api.get("/health").status_code == 200
        assert api.get("/ready").status_code == 503
        assert 'relation "deals" does not exist' in api.process.log()
        assert "Traceback" not in api.process.log()
