"""Accounts are listed, newest first."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_index("accounts_by_age", "accounts", ["created_at_us", "account_id"])
