"""The tables, as the code uses them. The schema itself is made in `migrations/`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import BigInteger, Boolean, Column, Float, ForeignKey, Integer, MetaData, String, Table, Text

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

metadata = MetaData()
shared_images = Table(
    "shared_image",
    metadata,
    Column("image_id", String(128), primary_key=True),
    Column("requester", String(64), nullable=False),
    Column("prompt", Text, nullable=False),
    Column("negative_prompt", Text, nullable=False),
    Column("model", String(128), nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("format", String(8), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("shared_at_us", BigInteger, nullable=False),
    Column("withdrawn_at_us", BigInteger),
    Column("verdict", String(8), nullable=False),
    Column("withheld", Boolean, nullable=False),
    Column("withheld_by", String(64), nullable=False),
    Column("withheld_network", String(8), nullable=False),
    Column("opened_at_us", BigInteger),
    Column("decided", Boolean, nullable=False),
    Column("urgent", Boolean, nullable=False),
    Column("reports", Integer, nullable=False),
    Column("told", Boolean, nullable=False),
    Column("rated", Integer, nullable=False, server_default="0"),
    Column("answer", Float),
    Column("painter", String(64), nullable=False, server_default=""),
    Column("consent_version", String(64), nullable=False),
    Column("asked", Boolean, nullable=False),
    Column("journal_hour_us", BigInteger),
)
journal_hours = Table(
    "journal_hour",
    metadata,
    Column("image_id", String(128), primary_key=True),
    Column("hour_us", BigInteger, nullable=False),
)
"""Of images that an hour of the journal names, and that were not there when it was read for the last time."""
ratings = Table(
    "rating",
    metadata,
    Column("image_id", ForeignKey("shared_image.image_id"), primary_key=True),
    Column("account_id", String(64), primary_key=True),
    Column("score", Integer, nullable=False),
    Column("artifacts", Integer),
    Column("rated_at_us", BigInteger, nullable=False),
    Column("first_score", Integer, nullable=False),
    Column("known", Float),
    Column("counted", Boolean, nullable=False),
    Column("earned_mkudos", BigInteger, nullable=False),
    Column("due", Boolean, nullable=False),
)
raters = Table(
    "rater",
    metadata,
    Column("account_id", String(64), primary_key=True),
    Column("word", Float, nullable=False),
    Column("checked", Integer, nullable=False),
    Column("agreement", Float, nullable=False),
    Column("certain", Float, nullable=False),
    Column("golds", Integer, nullable=False),
    Column("missed", Integer, nullable=False),
    Column("weight", Float, nullable=False),
    Column("looking_at", String(128)),
    Column("shown_at_us", BigInteger),
    Column("known", Float),
    Column("skipped", Text, nullable=False),
    Column("skipped_on", String(10), nullable=False),
)
reports = Table(
    "report",
    metadata,
    Column("image_id", ForeignKey("shared_image.image_id"), primary_key=True),
    Column("reporter", String(64), primary_key=True),
    Column("report_id", String(36), nullable=False),
    Column("answered", Boolean, nullable=False),
    Column("reason", String(16), nullable=False),
    Column("detail", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
)
voices = Table(
    "voice",
    metadata,
    Column("image_id", ForeignKey("shared_image.image_id"), primary_key=True),
    Column("checker", String(64), primary_key=True),
    Column("verdict", String(8), nullable=False),
    Column("score", Float),
)
decisions = Table(
    "decision",
    metadata,
    Column("image_id", ForeignKey("shared_image.image_id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("verdict", String(8), nullable=False),
    Column("reason", String(16), nullable=False),
    Column("moderator_account_id", String(36), nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("why", Text, nullable=False),
)
data_releases = Table(
    "data_release",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("terms", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Column("created_by", String(36), nullable=False),
    Column("failure", Text, nullable=False),
    Column("finished", Text, nullable=False),
)
wishes = Table(
    "wish",
    metadata,
    Column("requester", String(64), primary_key=True),
    Column("at_us", BigInteger, nullable=False),
)
places = Table(
    "place",
    metadata,
    Column("journal", String(32), primary_key=True),
    Column("hour_us", BigInteger, nullable=False),
)


def microseconds(at: datetime) -> int:
    """A time as it is kept."""
    return (at - EPOCH) // timedelta(microseconds=1)


def time_of(us: int) -> datetime:
    """A time as it was kept."""
    return EPOCH + timedelta(microseconds=us)
