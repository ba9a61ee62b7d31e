"""The tables, as of the newest revision in alembic/versions."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from sqlalchemy import BigInteger, CheckConstraint, DateTime, Identity, Index, Numeric, Text, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """The base class of all tables."""


class Deal(Base):
    """An offer on some website, identified by its URL."""

    __tablename__ = "deals"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    title: Mapped[str] = mapped_column(Text)
    url: Mapped[str] = mapped_column(Text, unique=True)
    price: Mapped[Decimal] = mapped_column(Numeric(12, 2))
    currency: Mapped[str] = mapped_column(Text)
    source: Mapped[str] = mapped_column(Text)
    found_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.current_timestamp()
    )

    __table_args__ = (
        Index("deals_newest", found_at.desc(), id.desc()),
        CheckConstraint("price >= 0", name="deals_price_check"),
        CheckConstraint("currency ~ '^[A-Z]{3}$'", name="deals_currency_check"),
    )
