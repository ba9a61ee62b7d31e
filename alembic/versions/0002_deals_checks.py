"""Reject negative prices and invalid currencies."""

from __future__ import annotations

from alembic import op

revision = "0002_deals_checks"
down_revision = "0001_deals"

CHECKS = {
    "deals_price_check": "price >= 0",
    "deals_currency_check": "currency ~ '^[A-Z]{3}$'",
}


def upgrade() -> None:
    """Apply the revision."""
    for name, condition in CHECKS.items():
        op.create_check_constraint(name, "deals", condition)


def downgrade() -> None:
    """Revert the revision."""
    for name in CHECKS:
        op.drop_constraint(name, "deals")
