"""What is done is listed by the auditor in three orders, each from an index of its own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    done = "state = 5 AND ending = 1"
    for name, columns, which in (
        ("job_by_end", ["ended_at_ms", "job_id"], done),
        ("job_shared", ["job_id"], f"{done} AND expires_at_ms = 0"),
        ("job_private", ["object_name"], "ending = 1 AND (state = 4 OR expires_at_ms > 0)"),
    ):
        op.create_index(name, "job", columns, sqlite_where=sa.text(which), postgresql_where=sa.text(which))
