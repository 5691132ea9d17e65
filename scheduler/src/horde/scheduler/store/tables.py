"""The tables of the SQL store; migrations/ makes them, and a test compares the two."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
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

METADATA = MetaData()

LEADER = Table(
    "leader",
    METADATA,
    Column("only", Integer, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),
)

GENERATION = Table(
    "generation",
    METADATA,
    Column("generation_id", String(36), primary_key=True),
    Column("request_id", String(64), nullable=False),
    Column("account_id", String(64), nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("spec", LargeBinary, nullable=False),
    Column("quote", LargeBinary, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("flow", String(128), nullable=False),
    Column("weight", Float, nullable=False),
    Column("accepted_at_ms", BigInteger, nullable=False),
    Column("ttl_ms", BigInteger, nullable=False),
    Column("traceparent", String(64), nullable=False),
    Column("phase", Integer, nullable=False),
    Column("refusal", LargeBinary, nullable=False),
    Column("claimed", Boolean, nullable=False),
    Column("unusable", LargeBinary, nullable=False),
    Column("cancelled", Boolean, nullable=False),
    Column("closed", Boolean, nullable=False),
    Column("over_at_ms", BigInteger, nullable=True),
    Column("deletion", Integer, nullable=False, server_default="0"),
    Column("checks", Text, nullable=False, server_default=""),
)
Index(
    "generation_by_requester",
    GENERATION.c.account_id,
    GENERATION.c.digest,
    GENERATION.c.accepted_at_ms,
    GENERATION.c.generation_id,
)
Index(
    "generation_over",
    GENERATION.c.over_at_ms,
    sqlite_where=GENERATION.c.over_at_ms.is_not(None),
    postgresql_where=GENERATION.c.over_at_ms.is_not(None),
)
Index(
    "generation_open",
    GENERATION.c.generation_id,
    sqlite_where=GENERATION.c.closed == false(),
    postgresql_where=GENERATION.c.closed == false(),
)

JOB = Table(
    "job",
    METADATA,
    Column("job_id", String(36), primary_key=True),
    Column("generation_id", String(36), nullable=False, index=True),
    Column("position", Integer, nullable=False),
    Column("object_name", String(64), nullable=False),
    Column("state", Integer, nullable=False),
    Column("ending", Integer, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("leases", Text, nullable=False),
    Column("winner", String(36), nullable=False),
    Column("earned_mkudos", BigInteger, nullable=False),
    Column("tax_mkudos", BigInteger, nullable=False),
    Column("surcharge_mkudos", BigInteger, nullable=False),
    Column("sha256", LargeBinary, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("format", Integer, nullable=False),
    Column("expires_at_ms", BigInteger, nullable=False),
    Column("deviations", LargeBinary, nullable=False),
    Column("committed", Boolean, nullable=False),
    Column("settlement", LargeBinary, nullable=False),
    Column("detail", Text, nullable=False),
    Column("withdrawn", Boolean, nullable=False),
    Column("ended_at_ms", BigInteger, nullable=False),
    Column("leavings", Text, nullable=False),
)

DONE = text("job.state = 5 AND job.ending = 1")
DONE_SHARED = text("job.state = 5 AND job.ending = 1 AND job.expires_at_ms = 0")
DONE_PRIVATE = text("job.ending = 1 AND (job.state = 4 OR job.expires_at_ms > 0)")
"""What the auditor lists. Literal, in queries too: a condition with a parameter in it is not known to be an index's."""
for _name, _columns, _those in (
    ("job_by_end", (JOB.c.ended_at_ms, JOB.c.job_id), DONE),
    ("job_shared", (JOB.c.job_id,), DONE_SHARED),
    ("job_private", (JOB.c.object_name,), DONE_PRIVATE),
):
    _words = text(_those.text.replace("job.", ""))
    Index(_name, *_columns, sqlite_where=_words, postgresql_where=_words)

WORKER = Table(
    "worker",
    METADATA,
    Column("worker_id", String(36), primary_key=True),
    Column("owner", String(64), nullable=False),
    Column("name", String(64), nullable=False),
    Column("agent", Text, nullable=False),
    Column("capabilities", LargeBinary, nullable=False),
    Column("paused", Boolean, nullable=False),
    Column("description", Text, nullable=False, server_default=""),
    Column("images_done", BigInteger, nullable=False),
    Column("paid_images", BigInteger, nullable=False),
    Column("jobs_failed", BigInteger, nullable=False),
    Column("last_seen_ms", BigInteger, nullable=False),
    Column("speeds", Text, nullable=False),
)
Index("worker_by_age", WORKER.c.last_seen_ms)

OWNER = Table(
    "owner",
    METADATA,
    Column("owner", String(64), primary_key=True),
    Column("changed_ms", BigInteger, nullable=False),
    Column("record", Text, nullable=False),
)
Index("owner_by_age", OWNER.c.changed_ms)

STRIKE = Table(
    "strike",
    METADATA,
    Column("strike_id", String(36), primary_key=True),
    Column("owner", String(64), nullable=False),
    Column("worker_id", String(36), nullable=False),
    Column("worker_name", String(64), nullable=False),
    Column("reason", Integer, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("detail", Text, nullable=False),
    Column("forgiven", Text, nullable=False),
)
Index("strike_by_age", STRIKE.c.at_ms)
