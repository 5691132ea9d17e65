"""The identity store's tables, as the code uses them. The schema itself is made in `migrations/`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    false,
    text,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

metadata = MetaData()
accounts = Table(
    "accounts",
    metadata,
    Column("account_id", String(36), primary_key=True),
    Column("display_name", String(64), nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Column("roles", String(64), nullable=False),
    Column("request_id", String(36), unique=True),
    Column("opened", Boolean, nullable=False),
    Column("public", Boolean, nullable=False, server_default=false()),
    Column("contact", String(256), nullable=False, server_default=""),
    Column("asked_name", String(64), nullable=False, server_default=""),
    Index("accounts_by_age", "created_at_us", "account_id"),
)
api_keys = Table(
    "api_keys",
    metadata,
    Column("api_key_id", String(32), primary_key=True),
    Column("account_id", ForeignKey("accounts.account_id"), nullable=False, index=True),
    Column("label", String(64), nullable=False),
    Column("scopes", String(64), nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("pepper_id", String(8), nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Column("last_used_at_us", BigInteger),
    Column("revoked", Boolean, nullable=False),
    Column("request_id", String(36)),
)
shared_keys = Table(
    "shared_keys",
    metadata,
    Column("shared_key_id", String(32), primary_key=True),
    Column("account_id", ForeignKey("accounts.account_id"), nullable=False, index=True),
    Column("label", String(64), nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("pepper_id", String(8), nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Column("request_id", String(36), nullable=False),
    Column("asked", LargeBinary, nullable=False),
    Column("budget_mkudos", BigInteger),
    Column("expires_at_us", BigInteger),
    Column("bounds", Text, nullable=False),
    Column("revoked", Boolean, nullable=False),
    Column("last_used_at_us", BigInteger),
    Column("settled_mkudos", BigInteger, nullable=False),
)
reservations = Table(
    "reservations",
    metadata,
    Column("generation_id", String(36), primary_key=True),
    Column("shared_key_id", ForeignKey("shared_keys.shared_key_id"), nullable=False),
    Column("mkudos", BigInteger, nullable=False),
    Column("stamp", String(36), nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("ended", Boolean, nullable=False),
    Index("reservations_of_key", "shared_key_id", "at_us", "generation_id"),
    Index(
        "reservations_open",
        "generation_id",
        sqlite_where=text("ended = 0"),
        postgresql_where=text("NOT ended"),
    ),
)

closings = Table(
    "closings",
    metadata,
    Column("account_id", String(36), primary_key=True),
    Column("api_key_id", String(32), nullable=False, unique=True),
    Column("digest", LargeBinary, nullable=False),
    Column("pepper_id", String(8), nullable=False),
    Column("export_id", String(128), nullable=False),
    Column("withdraw_shared", Boolean, nullable=False),
    Column("asked_at_us", BigInteger, nullable=False),
    Column("generations", BigInteger, nullable=False),
    Column("images", BigInteger, nullable=False),
    Column("images_withdrawn", BigInteger, nullable=False),
    Column("burned_mkudos", BigInteger),
    Column("forgotten", Boolean, nullable=False),
)

restrictions = Table(
    "restrictions",
    metadata,
    Column("restriction_id", String(36), primary_key=True),
    Column("target_kind", String(16), nullable=False),
    Column("target", String(64), nullable=False),
    Column("ban", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    Column("since_us", BigInteger, nullable=False),
    Column("until_us", BigInteger),
    Column("by_account_id", String(36), nullable=False),
    Column("request_id", String(36), nullable=False),
    Column("lifted_at_us", BigInteger),
    Column("lifted_by", String(36), nullable=False),
    Column("lifted_because", Text, nullable=False),
    Column("appeal_note", Text, nullable=False),
    Column("changed_at_us", BigInteger, nullable=False),
    Index("restrictions_by_age", "since_us", "restriction_id"),
    Index("restrictions_by_change", "changed_at_us"),
)
filters = Table(
    "filters",
    metadata,
    Column("filter_id", String(36), primary_key=True),
    Column("kind", Integer, nullable=False),
    Column("pattern", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("created_by", String(36), nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Column("request_id", String(36), nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("changed_at_us", BigInteger, nullable=False),
    Index("filters_by_age", "created_at_us", "filter_id"),
    Index("filters_by_change", "changed_at_us"),
)
decisions = Table(
    "decisions",
    metadata,
    Column("decision_id", String(36), primary_key=True),
    Column("at_us", BigInteger, nullable=False),
    Column("by_account_id", String(36), nullable=False),
    Column("action", String(32), nullable=False),
    Column("subject", String(64), nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Index("decisions_by_age", "at_us"),
)


def microseconds(at: datetime) -> int:
    """A time as it is kept."""
    return (at - EPOCH) // timedelta(microseconds=1)


def time_of(us: int) -> datetime:
    """A time as it was kept."""
    return EPOCH + timedelta(microseconds=us)
