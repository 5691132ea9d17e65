"""Why workers were struck is kept: people may ask, and an amnesty may take it back."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "strike",
        sa.Column("strike_id", sa.String(36), primary_key=True),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("worker_id", sa.String(36), nullable=False),
        sa.Column("worker_name", sa.String(64), nullable=False),
        sa.Column("reason", sa.Integer(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("forgiven", sa.Text(), nullable=False),
    )
    op.create_index("strike_by_age", "strike", ["at_ms"])
