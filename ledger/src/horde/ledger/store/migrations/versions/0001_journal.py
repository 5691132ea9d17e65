"""The journal, its caches, the chain, and the writer's row."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "writer",
        sa.Column("shard", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("block", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("accounts", sa.BigInteger, nullable=False),
        sa.Column("sum_mkudos", sa.BigInteger, sa.CheckConstraint("sum_mkudos = 0"), nullable=False),
        sa.Column("seal", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "event",
        sa.Column("sequence", _KEY, primary_key=True, autoincrement=False),
        sa.Column("id", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("block", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "refusal",
        sa.Column("block", sa.BigInteger, nullable=False),
        sa.Column("line", sa.Integer, nullable=False),
        sa.Column("id", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("block", "line"),
    )
    op.create_table(
        "account",
        sa.Column("number", _KEY, primary_key=True, autoincrement=False),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("posted", sa.BigInteger, nullable=False),
        sa.Column("held", sa.BigInteger, sa.CheckConstraint("held >= 0"), nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.CheckConstraint("posted >= 0 OR name NOT LIKE '%/%'", name="floor"),
    )
    op.create_table(
        "owner",
        sa.Column("account_id", sa.Text, primary_key=True),
        sa.Column("opened_us", sa.BigInteger, nullable=False),
        sa.Column("strikes", sa.Integer, nullable=False),
        sa.Column("decree", sa.SmallInteger),
        sa.Column("promotions", sa.Integer, nullable=False),
        sa.Column("parked", sa.BigInteger, nullable=False),
        sa.Column("day", sa.BigInteger, nullable=False),
        sa.Column("subsidy_used", sa.BigInteger, nullable=False),
        sa.Column("subsidised_earned", sa.BigInteger, nullable=False),
        sa.Column("seal", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "hold",
        sa.Column("id", sa.LargeBinary, primary_key=True),
        sa.Column("job_id", sa.LargeBinary, nullable=False),
        sa.Column("generation_id", sa.LargeBinary, nullable=False),
        sa.Column("payer_id", sa.Text, nullable=False),
        sa.Column("own", sa.BigInteger, nullable=False),
        sa.Column("subsidised", sa.BigInteger, nullable=False),
        sa.Column("subsidy", sa.Text, nullable=False),
        sa.Column("day", sa.BigInteger, nullable=False),
        sa.Column("parts", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "statement",
        sa.Column("owner", sa.BigInteger, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("owner", "sequence"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "block",
        sa.Column("number", _KEY, primary_key=True, autoincrement=False),
        sa.Column("first_sequence", sa.BigInteger, nullable=False),
        sa.Column("last_sequence", sa.BigInteger, nullable=False),
        sa.Column("writer_epoch", sa.BigInteger, nullable=False),
        sa.Column("at_us", sa.BigInteger, nullable=False, index=True),
        sa.Column("previous_hash", sa.LargeBinary, nullable=False),
        sa.Column("merkle_root", sa.LargeBinary, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
    )
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        # Balances are overwritten all the time: room in the page saves touching the index.
        for table in ("account", "owner", "writer"):
            op.execute(f"ALTER TABLE {table} SET (fillfactor = 50)")
        op.execute(
            "CREATE VIEW transfer AS SELECT e.sequence, (l.line - 1) AS line, l.value->>0 AS debit, "
            "l.value->>1 AS credit, (l.value->>2)::bigint AS amount, (l.value->>3)::int AS code FROM event e, "
            "jsonb_array_elements(e.body::jsonb->'transfers') WITH ORDINALITY AS l(value, line)"
        )
    else:
        op.execute(
            "CREATE VIEW transfer AS SELECT e.sequence, l.key AS line, json_extract(l.value, '$[0]') AS debit, "
            "json_extract(l.value, '$[1]') AS credit, json_extract(l.value, '$[2]') AS amount, "
            "json_extract(l.value, '$[3]') AS code FROM event e, json_each(e.body, '$.transfers') l"
        )
    _first_writer_row(connection)


def _first_writer_row(connection: sa.Connection) -> None:
    from horde.ledger.core.rows import WRITER_COLUMNS, writer_row
    from horde.ledger.store.port import Head

    mark = "?" if connection.dialect.name == "sqlite" else "%s"
    marks = ", ".join([mark] * (len(WRITER_COLUMNS) + 1))
    statement = f"INSERT INTO writer (shard, {', '.join(WRITER_COLUMNS)}) VALUES ({marks})"
    connection.exec_driver_sql(statement, (0, *writer_row(Head())))


def downgrade() -> None:
    op.execute("DROP VIEW transfer")
    for table in ("block", "statement", "hold", "owner", "account", "refusal", "event", "writer"):
        op.drop_table(table)
