"""The deals: look through them, add one, take one away."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import ColumnElement, delete, func, select

from app.api.problems import UNREADABLE, Problem
from app.database import transaction
from app.domain import deals, models
from app.domain.fields import Currency, Price, Source, Title

router = APIRouter(
    prefix="/deals",
    tags=["deals"],
    responses={503: {"model": Problem, "description": "The database is away; try again"}},
)

NOT_FOUND = {404: {"model": Problem, "description": "There is no such deal"}}

Id = Annotated[int, Path(ge=1, le=2**63 - 1)]


class Deal(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    title: str
    url: str
    price: Decimal
    currency: str
    source: str
    found_at: datetime


class DealPage(BaseModel):
    items: list[Deal]
    total: int = Field(description="How many deals match, on all pages")
    limit: int
    offset: int


class DealFilter(BaseModel):
    model_config = ConfigDict(extra="forbid")

    source: Source | None = None
    currency: Currency | None = None
    min_price: Price | None = None
    max_price: Price | None = None
    q: Annotated[Title | None, Field(description="Part of the title, in any case")] = None
    limit: int = Field(50, ge=1, le=200)
    offset: int = Field(0, ge=0, le=1_000_000)


# What each part of a filter asks of a deal.
CONDITIONS: dict[str, Callable[[Any], ColumnElement[bool]]] = {
    "source": lambda value: models.Deal.source == value,
    "currency": lambda value: models.Deal.currency == value,
    "min_price": lambda value: models.Deal.price >= value,
    "max_price": lambda value: models.Deal.price <= value,
    "q": lambda value: models.Deal.title.icontains(value, autoescape=True),
}


@router.get("", summary="The deals that match, newest first")
def list_deals(wanted: Annotated[DealFilter, Query()]) -> DealPage:
    conditions = [
        condition(value)
        for name, condition in CONDITIONS.items()
        if (value := getattr(wanted, name)) is not None
    ]
    matching = select(models.Deal).where(*conditions)
    newest = matching.order_by(models.Deal.found_at.desc(), models.Deal.id.desc())
    with transaction() as session:
        total = session.scalar(select(func.count()).select_from(matching.subquery()))
        found = session.scalars(newest.limit(wanted.limit).offset(wanted.offset)).all()
    return DealPage(
        items=[Deal.model_validate(each) for each in found],
        total=total or 0,
        limit=wanted.limit,
        offset=wanted.offset,
    )


@router.post(
    "",
    status_code=201,
    summary="Add a deal",
    responses=UNREADABLE | {409: {"model": Problem, "description": "A deal with this URL exists"}},
)
def add_deal(deal: deals.NewDeal, response: Response) -> Deal:
    with transaction() as session:
        added = deals.add(session, deal)
    if added is None:
        raise HTTPException(409, "a deal with this URL exists")
    response.headers["Location"] = f"/deals/{added.id}"
    return Deal.model_validate(added)


@router.get("/{id}", summary="One deal", responses=NOT_FOUND)
def get_deal(id: Id) -> Deal:
    with transaction() as session:
        found = session.get(models.Deal, id)
    if found is None:
        raise HTTPException(404, "there is no such deal")
    return Deal.model_validate(found)


@router.delete("/{id}", status_code=204, summary="Take a deal away", responses=NOT_FOUND)
def delete_deal(id: Id) -> None:
    with transaction() as session:
        gone = session.scalar(
            delete(models.Deal).where(models.Deal.id == id).returning(models.Deal.id)
        )
    if gone is None:
        raise HTTPException(404, "there is no such deal")
