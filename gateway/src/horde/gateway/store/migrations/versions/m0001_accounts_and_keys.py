"""Accounts and API keys."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("account_id", sa.String(36), primary_key=True),
        sa.Column("display_name", sa.String(64), nullable=False),
        sa.Column("created_at_us", sa.BigInteger, nullable=False),
        sa.Column("roles", sa.String(64), nullable=False),
        sa.Column("request_id", sa.String(36), unique=True),
        sa.Column("opened", sa.Boolean, nullable=False),
    )
    op.create_index(
        "accounts_unopened",
        "accounts",
        ["created_at_us"],
        sqlite_where=sa.text("opened = 0"),
        postgresql_where=sa.text("NOT opened"),
    )
    op.create_table(
        "api_keys",
        sa.Column("api_key_id", sa.String(32), primary_key=True),
        sa.Column("account_id", sa.String(36), sa.ForeignKey("accounts.account_id"), nullable=False, index=True),
        sa.Column("label", sa.String(64), nullable=False),
        sa.Column("scopes", sa.String(64), nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("pepper_id", sa.String(8), nullable=False),
        sa.Column("created_at_us", sa.BigInteger, nullable=False),
        sa.Column("last_used_at_us", sa.BigInteger),
        sa.Column("revoked", sa.Boolean, nullable=False),
        sa.Column("request_id", sa.String(36)),
        sa.UniqueConstraint("account_id", "request_id"),
    )
