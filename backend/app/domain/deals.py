"""New deals from clients and feeds, and how they are stored."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict
from sqlalchemy import literal_column
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.domain import models
from app.domain.fields import Currency, Instant, Price, Source, Title, Url


class NewDeal(BaseModel):
    """A deal to store. `found_at` defaults to the time of insertion."""

    model_config = ConfigDict(extra="forbid")

    title: Title
    url: Url
    price: Price
    currency: Currency
    source: Source
    found_at: Instant | None = None

    def columns(self) -> dict[str, object]:
        """Return the values to insert."""
        return self.model_dump(exclude_none=True)


def add(session: Session, deal: NewDeal) -> models.Deal | None:
    """Insert a deal. Returns None if a deal with its URL exists."""
    statement = (
        insert(models.Deal)
        .values(deal.columns())
        .on_conflict_do_nothing(index_elements=["url"])
        .returning(models.Deal)
    )
    return session.scalar(statement)


def update_or_add(session: Session, deals: Iterable[NewDeal]) -> tuple[int, int]:
    """Update deals by URL or insert them, idempotently. Returns the two counts: new, existing.

    An existing deal keeps its `found_at`.
    """
    # Sorted by URL, so that two workers cannot deadlock.
    by_url = {deal.url: deal for deal in deals}
    new = existing = 0
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
        new += bool(inserted)
        existing += not inserted
    return new, existing
