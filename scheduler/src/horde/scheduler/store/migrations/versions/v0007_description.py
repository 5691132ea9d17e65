"""What owners say of their workers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("worker", sa.Column("description", sa.Text(), nullable=False, server_default=""))
