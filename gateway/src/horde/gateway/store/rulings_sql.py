"""Restrictions, prompt filters, and decisions, in SQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, and_, delete, func, insert, or_, select, true, update

from horde.gateway.core.decisions import APPEAL, Decision
from horde.gateway.core.prompt_filters import FilterKind, PromptFilter
from horde.gateway.core.restrictions import Restriction, Target, TargetKind, targets_of
from horde.gateway.store.tables import decisions, filters, microseconds, restrictions, time_of
from horde.services.sql import SqlThread

R = TypeVar("R")


class SqlRulings:
    """The part of the store that is about what people who run the horde decided."""

    _sql: SqlThread

    async def _run(self, work: Callable[[Connection], R]) -> R:
        raise NotImplementedError

    async def restrict(self, restriction: Restriction, decision: Decision) -> tuple[Restriction, bool]:
        def work(connection: Connection) -> tuple[Restriction, bool]:
            same = and_(
                restrictions.c.by_account_id == restriction.by_account_id,
                restrictions.c.request_id == restriction.request_id,
            )
            row = connection.execute(select(restrictions).where(same)).first()
            if row is not None:
                return _restriction(row), False
            connection.execute(insert(restrictions).values(_restriction_row(restriction, decision.at)))
            record(connection, decision)
            return restriction, True

        return await self._run(work)

    async def restriction(self, restriction_id: str) -> Restriction | None:
        def work(connection: Connection) -> Restriction | None:
            return _one(connection, restriction_id)

        return await self._sql.read(work)

    async def change_restriction(
        self, restriction_id: str, changes: Mapping[str, Any], decision: Decision
    ) -> Restriction | None:
        values = {("lifted_at_us" if name == "lifted_at" else name): _plain(value) for name, value in changes.items()}

        def work(connection: Connection) -> Restriction | None:
            its = restrictions.c.restriction_id == restriction_id
            changed = update(restrictions).where(its).values(**values, changed_at_us=microseconds(decision.at))
            if connection.execute(changed).rowcount:
                record(connection, decision)
            return _one(connection, restriction_id)

        return await self._run(work)

    async def restrictions_in_force(self, now: datetime) -> Sequence[Restriction]:
        until = restrictions.c.until_us
        wanted = restrictions.c.lifted_at_us.is_(None) & or_(until.is_(None), until > microseconds(now))
        return await self._restrictions(wanted, None)

    async def restrictions_changed(self, since: datetime) -> Sequence[Restriction]:
        return await self._restrictions(restrictions.c.changed_at_us >= microseconds(since), None)

    async def restrictions(
        self,
        now: datetime,
        limit: int,
        before: Restriction | None = None,
        *,
        past: bool = False,
        appealed: bool = False,
    ) -> Sequence[Restriction]:
        until, since = restrictions.c.until_us, restrictions.c.since_us
        wanted: Any = true()
        if not past:
            wanted &= restrictions.c.lifted_at_us.is_(None) & or_(until.is_(None), until > microseconds(now))
        if appealed:
            wanted &= (restrictions.c.appeal_note != "") & restrictions.c.lifted_at_us.is_(None)
        if before is not None:
            at = microseconds(before.since)
            earlier = and_(since == at, restrictions.c.restriction_id < before.restriction_id)
            wanted &= or_(since < at, earlier)
        return await self._restrictions(wanted, limit)

    async def _restrictions(self, wanted: Any, limit: int | None) -> Sequence[Restriction]:
        newest = (restrictions.c.since_us.desc(), restrictions.c.restriction_id.desc())
        query = select(restrictions).where(wanted).order_by(*newest).limit(limit)
        return await self._sql.read(lambda connection: [_restriction(row) for row in connection.execute(query)])

    async def forget_standing(self, account_id: str, now: datetime) -> None:
        mine = and_(decisions.c.by_account_id == account_id, decisions.c.action == APPEAL)
        until = restrictions.c.until_us
        over = or_(restrictions.c.lifted_at_us.is_not(None), until <= microseconds(now))
        about = or_(
            *(
                and_(restrictions.c.target_kind == target.kind.value, restrictions.c.target == target.name)
                for target in targets_of(account_id)
            )
        )

        def work(connection: Connection) -> None:
            for row in connection.execute(select(decisions.c.subject, decisions.c.reason).where(mine)).all():
                # Somebody else may have appealed since: a network is many people's.
                its = and_(restrictions.c.restriction_id == row.subject, restrictions.c.appeal_note == row.reason)
                connection.execute(update(restrictions).where(its).values(appeal_note=""))
            connection.execute(delete(decisions).where(mine))
            connection.execute(delete(restrictions).where(about, over))

        await self._run(work)

    async def decide(self, decision: Decision) -> None:
        await self._run(lambda connection: record(connection, decision))

    async def decided(
        self, limit: int, before: tuple[datetime, str] | None = None, subject: str = ""
    ) -> Sequence[Decision]:
        wanted: Any = true()
        if subject:
            # No index: people decide all of it, so it is short.
            of_it = select(restrictions.c.restriction_id).where(restrictions.c.target == subject)
            wanted &= or_(decisions.c.subject == subject, decisions.c.subject.in_(of_it))
        if before is not None:
            at = microseconds(before[0])
            earlier = and_(decisions.c.at_us == at, decisions.c.decision_id < before[1])
            wanted &= or_(decisions.c.at_us < at, earlier)
        newest = (decisions.c.at_us.desc(), decisions.c.decision_id.desc())
        query = select(decisions).where(wanted).order_by(*newest).limit(limit)
        return await self._sql.read(lambda connection: [_decision(row) for row in connection.execute(query)])

    async def create_filter(self, rule: PromptFilter, decision: Decision) -> tuple[PromptFilter, bool]:
        def work(connection: Connection) -> tuple[PromptFilter, bool]:
            same = and_(filters.c.created_by == rule.created_by, filters.c.request_id == rule.request_id)
            row = connection.execute(select(filters).where(same)).first()
            if row is not None:
                return _filter(row), False
            connection.execute(insert(filters).values(_filter_row(rule)))
            record(connection, decision)
            return rule, True

        return await self._run(work)

    async def delete_filter(self, filter_id: str, decision: Decision) -> None:
        def work(connection: Connection) -> None:
            its = (filters.c.filter_id == filter_id) & filters.c.deleted.is_(False)
            gone = update(filters).where(its).values(deleted=True, changed_at_us=microseconds(decision.at))
            if connection.execute(gone).rowcount:
                record(connection, decision)

        await self._run(work)

    async def filters(self) -> Sequence[PromptFilter]:
        oldest = (filters.c.created_at_us, filters.c.filter_id)
        query = select(filters).where(filters.c.deleted.is_(False)).order_by(*oldest)
        return await self._sql.read(lambda connection: [_filter(row) for row in connection.execute(query)])

    async def filters_changed_at(self) -> int:
        query = select(func.max(filters.c.changed_at_us))
        return await self._sql.read(lambda connection: int(connection.execute(query).scalar() or 0))


def _plain(value: Any) -> Any:
    return microseconds(value) if isinstance(value, datetime) else value


def record(connection: Connection, decision: Decision) -> None:
    """Record a decision, in the transaction of what was decided."""
    row = {
        "decision_id": decision.decision_id,
        "at_us": microseconds(decision.at),
        "by_account_id": decision.by_account_id,
        "action": decision.action,
        "subject": decision.subject,
        "reason": decision.reason,
        "detail": decision.detail,
    }
    connection.execute(insert(decisions).values(row))


def _decision(row: Any) -> Decision:
    return Decision(
        row.decision_id, time_of(row.at_us), row.by_account_id, row.action, row.subject, row.reason, row.detail
    )


def _one(connection: Connection, restriction_id: str) -> Restriction | None:
    row = connection.execute(select(restrictions).where(restrictions.c.restriction_id == restriction_id)).first()
    return None if row is None else _restriction(row)


def _restriction_row(restriction: Restriction, at: datetime) -> dict[str, Any]:
    return {
        "restriction_id": restriction.restriction_id,
        "target_kind": restriction.target.kind.value,
        "target": restriction.target.name,
        "ban": restriction.ban,
        "reason": restriction.reason,
        "since_us": microseconds(restriction.since),
        "until_us": None if restriction.until is None else microseconds(restriction.until),
        "by_account_id": restriction.by_account_id,
        "request_id": restriction.request_id,
        "lifted_at_us": None if restriction.lifted_at is None else microseconds(restriction.lifted_at),
        "lifted_by": restriction.lifted_by,
        "lifted_because": restriction.lifted_because,
        "appeal_note": restriction.appeal_note,
        "changed_at_us": microseconds(at),
    }


def _restriction(row: Any) -> Restriction:
    return Restriction(
        restriction_id=row.restriction_id,
        target=Target(TargetKind(row.target_kind), row.target),
        ban=row.ban,
        reason=row.reason,
        since=time_of(row.since_us),
        until=None if row.until_us is None else time_of(row.until_us),
        by_account_id=row.by_account_id,
        request_id=row.request_id,
        lifted_at=None if row.lifted_at_us is None else time_of(row.lifted_at_us),
        lifted_by=row.lifted_by,
        lifted_because=row.lifted_because,
        appeal_note=row.appeal_note,
    )


def _filter_row(rule: PromptFilter) -> dict[str, Any]:
    at = microseconds(rule.created_at)
    return {
        "filter_id": rule.filter_id,
        "kind": int(rule.kind),
        "pattern": rule.pattern,
        "message": rule.message,
        "note": rule.note,
        "created_by": rule.created_by,
        "created_at_us": at,
        "request_id": rule.request_id,
        "deleted": False,
        "changed_at_us": at,
    }


def _filter(row: Any) -> PromptFilter:
    return PromptFilter(
        filter_id=row.filter_id,
        kind=FilterKind(row.kind),
        pattern=row.pattern,
        message=row.message,
        note=row.note,
        created_by=row.created_by,
        created_at=time_of(row.created_at_us),
        request_id=row.request_id,
    )
