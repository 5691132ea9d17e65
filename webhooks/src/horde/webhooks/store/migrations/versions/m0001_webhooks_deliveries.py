"""Webhooks, deliveries, generations that are looked at, and how far feeds were read."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "webhook",
        sa.Column("webhook_id", sa.String(36), primary_key=True),
        sa.Column("account_id", sa.String(64), nullable=False),
        sa.Column("request_id", sa.String(36), nullable=False),
        sa.Column("asked", sa.Text, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("events", sa.Text, nullable=False),
        sa.Column("request_id_prefix", sa.String(36), nullable=False),
        sa.Column("secret", sa.LargeBinary, nullable=False),
        sa.Column("old_secret", sa.LargeBinary, nullable=False),
        sa.Column("old_until_us", sa.BigInteger, nullable=False),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("disabled_because", sa.Text, nullable=False),
        sa.Column("created_at_us", sa.BigInteger, nullable=False),
        sa.Column("last_success_us", sa.BigInteger),
        sa.Column("failing_since_us", sa.BigInteger),
        sa.UniqueConstraint("account_id", "request_id"),
    )
    op.create_index("webhook_enabled", "webhook", ["enabled"], **_where("enabled"))
    op.create_table(
        "delivery",
        sa.Column("delivery_id", sa.String(36), primary_key=True),
        sa.Column("webhook_id", sa.String(36), nullable=False),
        sa.Column("account_id", sa.String(64), nullable=False),
        sa.Column("event", sa.String(32), nullable=False),
        sa.Column("subject_id", sa.String(64), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("created_at_us", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Integer, nullable=False),
        sa.Column("tries", sa.Text, nullable=False),
        sa.Column("next_try_us", sa.BigInteger),
    )
    op.create_index("delivery_log", "delivery", ["webhook_id", "created_at_us", "delivery_id"])
    op.create_index("delivery_of", "delivery", ["account_id"])
    op.create_index("delivery_age", "delivery", ["created_at_us"])
    op.create_index("delivery_due", "delivery", ["account_id", "next_try_us"], **_where("next_try_us IS NOT NULL"))
    op.create_table(
        "watched",
        sa.Column("generation_id", sa.String(36), primary_key=True),
        sa.Column("account_id", sa.String(64), nullable=False),
    )
    op.create_index("watched_of", "watched", ["account_id"])
    op.create_table("deleted", sa.Column("webhook_id", sa.String(36), primary_key=True))
    op.create_table(
        "place",
        sa.Column("feed", sa.String(32), primary_key=True),
        sa.Column("sequence", sa.BigInteger, nullable=False),
    )


def _where(words: str) -> dict[str, Any]:
    return {"sqlite_where": sa.text(words), "postgresql_where": sa.text(words)}
