"""Endpoints to list, add and delete deals."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import ColumnElement, delete, func, select

from app.api.problems import INVALID_BODY, Problem, Responses
from app.database import transaction
from app.domain import deals, models
from app.domain.fields import Currency, Price, Source, Title

router = APIRouter(
    prefix="/deals",
    tags=["deals"],
    responses={503: {"model": Problem, "description": "The database is unavailable; retry later"}},
)

NOT_FOUND: Responses = {404: {"model": Problem, "description": "There is no such deal"}}

Id = Annotated[int, Path(ge=1, le=2**63 - 1)]


class Deal(BaseModel):
    """A stored deal."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    title: str
    url: str
    price: Decimal
    currency: str
    source: str
    found_at: datetime


class DealPage(BaseModel):
    """One page of the deals that match a filter."""

    items: list[Deal]
    total: int = Field(description="Number of matching deals on all pages")
    limit: int
    offset: int


class DealFilter(BaseModel):
    """The query parameters of a list of deals."""

    model_config = ConfigDict(extra="forbid")

    source: Source | None = None
    currency: Currency | None = None
    min_price: Price | None = None
    max_price: Price | None = None
    q: Annotated[Title | None, Field(description="Part of the title, ignoring case")] = None
    limit: int = Field(50, ge=1, le=200)
    offset: int = Field(0, ge=0, le=1_000_000)


# The condition for each field of a filter.
CONDITIONS: dict[str, Callable[[Any], ColumnElement[bool]]] = {
    "source": lambda value: models.Deal.source == value,
    "currency": lambda value: models.Deal.currency == value,
    "min_price": lambda value: models.Deal.price >= value,
    "max_price": lambda value: models.Deal.price <= value,
    "q": lambda value: models.Deal.title.icontains(value, autoescape=True),
}


@router.get("", summary="The deals that match, newest first")
def list_deals(filters: Annotated[DealFilter, Query()]) -> DealPage:
    """Return one page of the deals that match all filters."""
    conditions = [
        condition(value)
        for name, condition in CONDITIONS.items()
        if (value := getattr(filters, name)) is not None
    ]
    matching = select(models.Deal).where(*conditions)
    newest = matching.order_by(models.Deal.found_at.desc(), models.Deal.id.desc())
    with transaction() as session:
        total = session.scalar(select(func.count()).select_from(matching.subquery()))
        rows = session.scalars(newest.limit(filters.limit).offset(filters.offset)).all()
    return DealPage(
        items=[Deal.model_validate(row) for row in rows],
        total=total or 0,
        limit=filters.limit,
        offset=filters.offset,
    )


@router.post(
    "",
    status_code=201,
    summary="Add a deal",
    responses=INVALID_BODY
    | {409: {"model": Problem, "description": "A deal with this URL exists"}},
)
def add_deal(deal: deals.NewDeal, response: Response) -> Deal:
    """Add a deal and return it as stored."""
    with transaction() as session:
        row = deals.add(session, deal)
    if row is None:
        raise HTTPException(409, "a deal with this URL exists")
    response.headers["Location"] = f"/deals/{row.id}"
    return Deal.model_validate(row)


@router.get("/{id}", summary="One deal", responses=NOT_FOUND)
def get_deal(id: Id) -> Deal:
    """Return one deal."""
    with transaction() as session:
        row = session.get(models.Deal, id)
    if row is None:
        raise HTTPException(404, "there is no such deal")
    return Deal.model_validate(row)


@router.delete("/{id}", status_code=204, summary="Delete a deal", responses=NOT_FOUND)
def delete_deal(id: Id) -> None:
    """Delete a deal."""
    with transaction() as session:
        deleted_id = session.scalar(
            delete(models.Deal).where(models.Deal.id == id).returning(models.Deal.id)
        )
    if deleted_id is None:
        raise HTTPException(404, "there is no such deal")
