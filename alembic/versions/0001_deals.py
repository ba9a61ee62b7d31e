"""Create the deals table."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001_deals"
down_revision = None


def upgrade() -> None:
    """Apply the revision."""
    op.create_table(
        "deals",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("price", sa.Numeric(12, 2), nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column(
            "found_at",
            sa.DateTime(timezone=True),
            server_default=sa.func.current_timestamp(),
            nullable=False,
        ),
        sa.UniqueConstraint("url", name="deals_url_key"),
    )


def downgrade() -> None:
    """Revert the revision."""
    op.drop_table("deals")
