"""Who leads, and how far the ledger was when a webhook was enabled."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "leader",
        sa.Column("only", sa.Integer, autoincrement=False, primary_key=True),
        sa.Column("epoch", sa.BigInteger, nullable=False),
    )
    # Those that are there are told of all that is read from now on: what was before is heard already.
    op.add_column("webhook", sa.Column("after_sequence", sa.BigInteger, nullable=False, server_default="0"))
