"""Shared images, what is said and decided of them, and data releases."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "shared_image",
        sa.Column("image_id", sa.String(128), primary_key=True),
        sa.Column("requester", sa.String(64), nullable=False, index=True),
        sa.Column("prompt", sa.Text, nullable=False),
        sa.Column("negative_prompt", sa.Text, nullable=False),
        sa.Column("model", sa.String(128), nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("format", sa.String(8), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("shared_at_us", sa.BigInteger, nullable=False, index=True),
        sa.Column("withdrawn_at_us", sa.BigInteger),
        sa.Column("verdict", sa.String(8), nullable=False),
        sa.Column("withheld", sa.Boolean, nullable=False),
        sa.Column("withheld_by", sa.String(64), nullable=False),
        sa.Column("withheld_network", sa.String(8), nullable=False),
        sa.Column("opened_at_us", sa.BigInteger),
        sa.Column("decided", sa.Boolean, nullable=False),
        sa.Column("urgent", sa.Boolean, nullable=False),
        sa.Column("reports", sa.Integer, nullable=False),
        sa.Column("told", sa.Boolean, nullable=False),
    )
    op.create_index(
        "cases",
        "shared_image",
        [sa.text("urgent DESC"), sa.text("reports DESC"), "opened_at_us", "image_id"],
        sqlite_where=sa.text("opened_at_us IS NOT NULL AND verdict IN ('', 'unsure')"),
        postgresql_where=sa.text("opened_at_us IS NOT NULL AND verdict IN ('', 'unsure')"),
    )
    op.create_index(
        "untold", "shared_image", ["image_id"], sqlite_where=sa.text("told = 0"), postgresql_where=sa.text("NOT told")
    )
    op.create_index(
        "withheld",
        "shared_image",
        ["withheld_by", "withheld_network"],
        sqlite_where=sa.text("withheld_by != ''"),
        postgresql_where=sa.text("withheld_by != ''"),
    )
    op.create_table(
        "report",
        sa.Column("image_id", sa.String(128), sa.ForeignKey("shared_image.image_id"), primary_key=True),
        sa.Column("reporter", sa.String(64), primary_key=True),
        sa.Column("report_id", sa.String(36), nullable=False),
        sa.Column("answered", sa.Boolean, nullable=False),
        sa.Column("reason", sa.String(16), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "voice",
        sa.Column("image_id", sa.String(128), sa.ForeignKey("shared_image.image_id"), primary_key=True),
        sa.Column("checker", sa.String(64), primary_key=True),
        sa.Column("verdict", sa.String(8), nullable=False),
        sa.Column("score", sa.Float),
    )
    op.create_table(
        "decision",
        sa.Column("image_id", sa.String(128), sa.ForeignKey("shared_image.image_id"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("verdict", sa.String(8), nullable=False),
        sa.Column("reason", sa.String(16), nullable=False),
        sa.Column("moderator_account_id", sa.String(36), nullable=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
    )
    op.create_table(
        "data_release",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("terms", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("created_at_us", sa.BigInteger, nullable=False, index=True),
        sa.Column("created_by", sa.String(36), nullable=False),
        sa.Column("failure", sa.Text, nullable=False),
        sa.Column("finished", sa.Text, nullable=False),
    )
    op.create_table(
        "place",
        sa.Column("journal", sa.String(32), primary_key=True),
        sa.Column("hour_us", sa.BigInteger, nullable=False),
    )
