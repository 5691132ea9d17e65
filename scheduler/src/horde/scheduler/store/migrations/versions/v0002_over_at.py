"""When a generation may be forgotten is a column with an index: what is kept for ever is not looked at each time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

# An image that is there: until it expires, or (0) for ever.
KEPT = "SELECT {what} FROM job WHERE job.generation_id = generation.generation_id AND ending = 1 AND NOT withdrawn"


def upgrade() -> None:
    op.add_column("generation", sa.Column("over_at_ms", sa.BigInteger(), nullable=True))
    op.execute("UPDATE generation SET over_at_ms = accepted_at_ms WHERE closed AND length(spec) > 0")
    op.execute(
        f"UPDATE generation SET over_at_ms = ({KEPT.format(what='max(expires_at_ms)')}) "  # noqa: S608
        f"WHERE over_at_ms IS NOT NULL AND EXISTS ({KEPT.format(what='1')} AND expires_at_ms > accepted_at_ms)"
    )
    op.execute(
        f"UPDATE generation SET over_at_ms = NULL WHERE EXISTS ({KEPT.format(what='1')} AND expires_at_ms = 0)"  # noqa: S608
    )
    over = sa.text("over_at_ms IS NOT NULL")
    op.create_index("generation_over", "generation", ["over_at_ms"], sqlite_where=over, postgresql_where=over)
    op.drop_index("generation_by_age", "generation")
    op.create_index("worker_by_age", "worker", ["last_seen_ms"])
