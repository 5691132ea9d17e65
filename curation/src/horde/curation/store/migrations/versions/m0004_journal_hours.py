"""By which hour of the journal data releases take an image."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("shared_image", sa.Column("journal_hour_us", sa.BigInteger))
    # As far as it can be told by now: the hour in which it was put in place.
    op.execute("UPDATE shared_image SET journal_hour_us = shared_at_us - shared_at_us % 3600000000")
    op.create_table(
        "journal_hour",
        sa.Column("image_id", sa.String(128), primary_key=True),
        sa.Column("hour_us", sa.BigInteger, nullable=False, index=True),
    )
