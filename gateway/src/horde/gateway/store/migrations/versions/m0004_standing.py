"""Who is paused or banned, the rules that prompts are held against, and what was decided by whom and why."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "restrictions",
        sa.Column("restriction_id", sa.String(36), primary_key=True),
        sa.Column("target_kind", sa.String(16), nullable=False),
        sa.Column("target", sa.String(64), nullable=False),
        sa.Column("ban", sa.Boolean, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("since_us", sa.BigInteger, nullable=False),
        sa.Column("until_us", sa.BigInteger),
        sa.Column("by_account_id", sa.String(36), nullable=False),
        sa.Column("request_id", sa.String(36), nullable=False),
        sa.Column("lifted_at_us", sa.BigInteger),
        sa.Column("lifted_by", sa.String(36), nullable=False),
        sa.Column("lifted_because", sa.Text, nullable=False),
        sa.Column("appeal_note", sa.Text, nullable=False),
        sa.Column("changed_at_us", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("by_account_id", "request_id"),
    )
    op.create_index("restrictions_by_age", "restrictions", ["since_us", "restriction_id"])
    op.create_index("restrictions_by_change", "restrictions", ["changed_at_us"])
    op.create_table(
        "filters",
        sa.Column("filter_id", sa.String(36), primary_key=True),
        sa.Column("kind", sa.Integer, nullable=False),
        sa.Column("pattern", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("created_by", sa.String(36), nullable=False),
        sa.Column("created_at_us", sa.BigInteger, nullable=False),
        sa.Column("request_id", sa.String(36), nullable=False),
        sa.Column("deleted", sa.Boolean, nullable=False),
        sa.Column("changed_at_us", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("created_by", "request_id"),
    )
    op.create_index("filters_by_age", "filters", ["created_at_us", "filter_id"])
    op.create_index("filters_by_change", "filters", ["changed_at_us"])
    op.create_table(
        "decisions",
        sa.Column("decision_id", sa.String(36), primary_key=True),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.Column("by_account_id", sa.String(36), nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("subject", sa.String(64), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
    )
    op.create_index("decisions_by_age", "decisions", ["at_us"])
