"""Strikes as they are written, and reading them back."""

from __future__ import annotations

from horde.scheduler.core.job import AccountId, WorkerId
from horde.scheduler.core.rows import Moment, Row
from horde.scheduler.core.strikes import Strike, StrikeReason


def strike_row(strike: Strike, moment: Moment) -> Row:
    return {
        "strike_id": strike.strike_id,
        "owner": strike.owner,
        "worker_id": strike.worker_id,
        "worker_name": strike.worker_name,
        "reason": int(strike.reason),
        "at_ms": moment.wall(strike.at),
        "detail": strike.detail,
        "forgiven": strike.forgiven,
    }


def strike_from(row: Row, moment: Moment) -> Strike:
    """A strike as it was written."""
    return Strike(
        row["strike_id"],
        AccountId(row["owner"]),
        WorkerId(row["worker_id"]),
        row["worker_name"],
        StrikeReason(row["reason"]),
        moment.core(row["at_ms"]),
        row["detail"],
        row["forgiven"],
    )
