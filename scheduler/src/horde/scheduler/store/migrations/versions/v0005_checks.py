"""Generations that the mesh asks for itself, to look at others' pictures; and what was found of owners' work."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("generation", sa.Column("checks", sa.Text(), nullable=False, server_default=""))
    op.create_table(
        "owner",
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("owner"),
    )
    op.create_index("owner_by_age", "owner", ["changed_ms"])
