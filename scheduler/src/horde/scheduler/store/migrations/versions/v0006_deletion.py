"""Generations that somebody wished to have forgotten."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("generation", sa.Column("deletion", sa.Integer(), nullable=False, server_default="0"))
