"""Under which text images were shared, and wishes to take back everything."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("shared_image", sa.Column("consent_version", sa.String(64), nullable=False, server_default=""))
    op.add_column("shared_image", sa.Column("asked", sa.Boolean, nullable=False, server_default=sa.false()))
    op.create_index("shared_by", "shared_image", ["requester", "shared_at_us", "image_id"])
    op.create_index(
        "withdrawn",
        "shared_image",
        ["withdrawn_at_us", "image_id"],
        sqlite_where=sa.text("withdrawn_at_us IS NOT NULL"),
        postgresql_where=sa.text("withdrawn_at_us IS NOT NULL"),
    )
    op.create_table(
        "wish",
        sa.Column("requester", sa.String(64), primary_key=True),
        sa.Column("at_us", sa.BigInteger, nullable=False),
    )
