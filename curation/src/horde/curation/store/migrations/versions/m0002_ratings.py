"""Ratings, and who rates."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("shared_image", sa.Column("rated", sa.Integer, nullable=False, server_default="0"))
    op.add_column("shared_image", sa.Column("answer", sa.Float))
    op.add_column("shared_image", sa.Column("painter", sa.String(64), nullable=False, server_default=""))
    op.create_index("rated", "shared_image", ["rated", "image_id"])
    op.create_index(
        "answered",
        "shared_image",
        ["image_id"],
        sqlite_where=sa.text("answer IS NOT NULL"),
        postgresql_where=sa.text("answer IS NOT NULL"),
    )
    op.create_table(
        "rating",
        sa.Column("image_id", sa.String(128), sa.ForeignKey("shared_image.image_id"), primary_key=True),
        sa.Column("account_id", sa.String(64), primary_key=True),
        sa.Column("score", sa.Integer, nullable=False),
        sa.Column("artifacts", sa.Integer),
        sa.Column("rated_at_us", sa.BigInteger, nullable=False, index=True),
        sa.Column("first_score", sa.Integer, nullable=False),
        sa.Column("known", sa.Float),
        sa.Column("counted", sa.Boolean, nullable=False),
        sa.Column("earned_mkudos", sa.BigInteger, nullable=False),
        sa.Column("due", sa.Boolean, nullable=False),
    )
    op.create_index("rated_by", "rating", ["account_id", "rated_at_us", "image_id"])
    op.create_index("due", "rating", ["rated_at_us"], sqlite_where=sa.text("due = 1"), postgresql_where=sa.text("due"))
    op.create_table(
        "rater",
        sa.Column("account_id", sa.String(64), primary_key=True),
        sa.Column("word", sa.Float, nullable=False),
        sa.Column("checked", sa.Integer, nullable=False),
        sa.Column("agreement", sa.Float, nullable=False),
        sa.Column("certain", sa.Float, nullable=False),
        sa.Column("golds", sa.Integer, nullable=False),
        sa.Column("missed", sa.Integer, nullable=False),
        sa.Column("weight", sa.Float, nullable=False),
        sa.Column("looking_at", sa.String(128)),
        sa.Column("shown_at_us", sa.BigInteger),
        sa.Column("known", sa.Float),
        sa.Column("skipped", sa.Text, nullable=False),
        sa.Column("skipped_on", sa.String(10), nullable=False),
    )
