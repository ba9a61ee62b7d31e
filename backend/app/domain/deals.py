"""A deal as clients and feeds offer it, and how it gets into the database."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict
from sqlalchemy import literal_column
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.domain import models
from app.domain.fields import Currency, Instant, Price, Source, Title, Url


class NewDeal(BaseModel):
    """A deal on its way in. `found_at` is the time of arrival unless it is given."""

    model_config = ConfigDict(extra="forbid")

    title: Title
    url: Url
    price: Price
    currency: Currency
    source: Source
    found_at: Instant | None = None

    def columns(self) -> dict[str, object]:
        return self.model_dump(exclude_none=True)


def add(session: Session, deal: NewDeal) -> models.Deal | None:
    """Insert a deal; None when its URL is known already."""
    statement = (
        insert(models.Deal)
        .values(deal.columns())
        .on_conflict_do_nothing(index_elements=["url"])
        .returning(models.Deal)
    )
    return session.scalar(statement)


def update_or_add(session: Session, deals: Iterable[NewDeal]) -> tuple[int, int]:
    """Bring deals up to date by their URL, as often as you like; count the new and the known.

    A known deal keeps the time at which it was found first.
    """
    # In the order of their URLs, so that two workers never wait for each other in a circle.
    by_url = {deal.url: deal for deal in deals}
    new = known = 0
    for _, deal in sorted(by_url.items()):
        statement = insert(models.Deal).values(deal.columns())
        changed = {
            name: statement.excluded[name] for name in ("title", "price", "currency", "source")
        }
        inserted = session.scalar(
            statement.on_conflict_do_update(index_elements=["url"], set_=changed).returning(
                literal_column("xmax = 0")
            )
        )
        new += inserted
        known += not inserted
    return new, known
