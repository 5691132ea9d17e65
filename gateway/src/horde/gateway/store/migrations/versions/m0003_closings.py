"""Accounts that were ended, until all that they had has gone."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "closings",
        sa.Column("account_id", sa.String(36), primary_key=True),
        sa.Column("api_key_id", sa.String(32), nullable=False, unique=True),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("pepper_id", sa.String(8), nullable=False),
        sa.Column("export_id", sa.String(128), nullable=False),
        sa.Column("withdraw_shared", sa.Boolean, nullable=False),
        sa.Column("asked_at_us", sa.BigInteger, nullable=False),
        sa.Column("generations", sa.BigInteger, nullable=False),
        sa.Column("images", sa.BigInteger, nullable=False),
        sa.Column("images_withdrawn", sa.BigInteger, nullable=False),
        sa.Column("burned_mkudos", sa.BigInteger),
        sa.Column("forgotten", sa.Boolean, nullable=False),
    )
