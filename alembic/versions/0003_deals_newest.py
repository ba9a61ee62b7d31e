"""An index for the deals in the order in which they are listed, built without locking them."""

from __future__ import annotations

from alembic import op

revision = "0003_deals_newest"
down_revision = "0002_deals_checks"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        # An attempt that was cut off leaves an invalid index behind.
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS deals_newest")
        op.execute("CREATE INDEX CONCURRENTLY deals_newest ON deals (found_at DESC, id DESC)")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS deals_newest")
