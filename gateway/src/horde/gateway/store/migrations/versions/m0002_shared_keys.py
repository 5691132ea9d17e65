"""What an account says of itself, shared keys, and what was reserved of their budgets."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("accounts", sa.Column("public", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("accounts", sa.Column("contact", sa.String(256), nullable=False, server_default=""))
    op.add_column("accounts", sa.Column("asked_name", sa.String(64), nullable=False, server_default=""))
    op.create_table(
        "shared_keys",
        sa.Column("shared_key_id", sa.String(32), primary_key=True),
        sa.Column("account_id", sa.String(36), sa.ForeignKey("accounts.account_id"), nullable=False, index=True),
        sa.Column("label", sa.String(64), nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("pepper_id", sa.String(8), nullable=False),
        sa.Column("created_at_us", sa.BigInteger, nullable=False),
        sa.Column("request_id", sa.String(36), nullable=False),
        sa.Column("asked", sa.LargeBinary, nullable=False),
        sa.Column("budget_mkudos", sa.BigInteger),
        sa.Column("expires_at_us", sa.BigInteger),
        sa.Column("bounds", sa.Text, nullable=False),
        sa.Column("revoked", sa.Boolean, nullable=False),
        sa.Column("last_used_at_us", sa.BigInteger),
        sa.Column("settled_mkudos", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("account_id", "request_id"),
    )
    op.create_table(
        "reservations",
        sa.Column("generation_id", sa.String(36), primary_key=True),
        sa.Column("shared_key_id", sa.String(32), sa.ForeignKey("shared_keys.shared_key_id"), nullable=False),
        sa.Column("mkudos", sa.BigInteger, nullable=False),
        sa.Column("stamp", sa.String(36), nullable=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.Column("ended", sa.Boolean, nullable=False),
    )
    op.create_index("reservations_of_key", "reservations", ["shared_key_id", "at_us", "generation_id"])
    op.create_index(
        "reservations_open",
        "reservations",
        ["generation_id"],
        sqlite_where=sa.text("ended = 0"),
        postgresql_where=sa.text("NOT ended"),
    )
