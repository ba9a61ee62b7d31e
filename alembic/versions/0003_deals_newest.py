"""Add an index in the order of the deal list, built without locking the table."""

from __future__ import annotations

from alembic import op

revision = "0003_deals_newest"
down_revision = "0002_deals_checks"


def upgrade() -> None:
    """Apply the revision."""
    with op.get_context().autocommit_block():
        # An interrupted attempt leaves an invalid index.
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS deals_newest")
        op.execute("CREATE INDEX CONCURRENTLY deals_newest ON deals (found_at DESC, id DESC)")


def downgrade() -> None:
    """Revert the revision."""
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS deals_newest")
