"""The tables, the same on SQLite and PostgreSQL. Integers are 64 bits, times are microseconds, UUIDs and hashes are
bytes.

`event.body` is the truth: the canonical text of an entry. Everything else but `refusal.body` can be computed from it,
and the audit does. For SQL there is a view `transfer` over it, one row for each transfer.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
)

METADATA = MetaData()
Key = BigInteger().with_variant(Integer, "sqlite")
"""SQLite keeps rows in the order of an INTEGER key, and only of that."""

WRITER = Table(
    "writer",
    METADATA,
    Column("shard", SmallInteger, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("block", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("accounts", BigInteger, nullable=False),
    Column("sum_mkudos", BigInteger, CheckConstraint("sum_mkudos = 0"), nullable=False),
    Column("seal", LargeBinary, nullable=False),
)
EVENT = Table(
    "event",
    METADATA,
    Column("sequence", Key, primary_key=True, autoincrement=False),
    Column("id", LargeBinary, nullable=False, unique=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("body", Text, nullable=False),
    Column("block", BigInteger, nullable=False),
)
REFUSAL = Table(
    "refusal",
    METADATA,
    Column("block", BigInteger, nullable=False),
    Column("line", Integer, nullable=False),
    Column("id", LargeBinary, nullable=False, unique=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("body", Text, nullable=False),
    PrimaryKeyConstraint("block", "line"),
)
ACCOUNT = Table(
    "account",
    METADATA,
    Column("number", Key, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False, unique=True),
    Column("posted", BigInteger, nullable=False),
    Column("held", BigInteger, CheckConstraint("held >= 0"), nullable=False),
    Column("sequence", BigInteger, nullable=False),
    CheckConstraint("posted >= 0 OR name NOT LIKE '%/%'", name="floor"),
)
OWNER = Table(
    "owner",
    METADATA,
    Column("account_id", Text, primary_key=True),
    Column("opened_us", BigInteger, nullable=False),
    Column("strikes", Integer, nullable=False),
    Column("decree", SmallInteger),
    Column("promotions", Integer, nullable=False),
    Column("parked", BigInteger, nullable=False),
    Column("day", BigInteger, nullable=False),
    Column("subsidy_used", BigInteger, nullable=False),
    Column("subsidised_earned", BigInteger, nullable=False),
    Column("seal", LargeBinary, nullable=False),
)
HOLD = Table(
    "hold",
    METADATA,
    Column("id", LargeBinary, primary_key=True),
    Column("job_id", LargeBinary, nullable=False),
    Column("generation_id", LargeBinary, nullable=False),
    Column("payer_id", Text, nullable=False),
    Column("own", BigInteger, nullable=False),
    Column("subsidised", BigInteger, nullable=False),
    Column("subsidy", Text, nullable=False),
    Column("day", BigInteger, nullable=False),
    Column("parts", Text, nullable=False),
    sqlite_with_rowid=False,
)
STATEMENT = Table(
    "statement",
    METADATA,
    Column("owner", BigInteger, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    PrimaryKeyConstraint("owner", "sequence"),
    sqlite_with_rowid=False,
)
BLOCK = Table(
    "block",
    METADATA,
    Column("number", Key, primary_key=True, autoincrement=False),
    Column("first_sequence", BigInteger, nullable=False),
    Column("last_sequence", BigInteger, nullable=False),
    Column("writer_epoch", BigInteger, nullable=False),
    Column("at_us", BigInteger, nullable=False, index=True),
    Column("previous_hash", LargeBinary, nullable=False),
    Column("merkle_root", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
)
