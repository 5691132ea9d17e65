"""Reports, decisions and how images stand, in SQL. The image's row is the lock of all that is about it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, desc, func, insert, or_, select, text, update

from horde.curation.core.cases import (
    Case,
    Decision,
    Place,
    Reason,
    Report,
    Standing,
    Voice,
    Withheld,
    after_decision,
    after_report,
    same_decision,
)
from horde.curation.core.images import Verdict
from horde.curation.store.images_sql import image_of, images_query
from horde.curation.store.tables import decisions, microseconds, reports, shared_images, time_of, voices
from horde.services.sql import SqlThread

SHOWN_REPORTS = 20
OPEN = frozenset({Verdict.NONE, Verdict.UNSURE})
"""What waits for a moderator."""


class SqlCases:
    """The part of the store that is about moderation."""

    _sql: SqlThread

    async def report(self, report: Report) -> str | None:
        def work(connection: Connection) -> str | None:
            row = _locked(connection, report.image_id)
            if row is None or row.withdrawn_at_us is not None:
                return None
            mine = (reports.c.image_id == report.image_id) & (reports.c.reporter == report.reporter)
            earlier = connection.execute(select(reports).where(mine)).first()
            values = {
                "reason": report.reason.value,
                "detail": report.detail,
                "at_us": microseconds(report.at),
                "answered": False,
            }
            if earlier is None:
                keys = {name: getattr(report, name) for name in ("image_id", "reporter", "report_id")}
                connection.execute(insert(reports).values(**keys, **values))
            else:
                connection.execute(update(reports).where(mine).values(**values))
            again = earlier is not None and not earlier.answered
            standing = after_report(standing_of(row), report, _withheld(connection, report), again=again)
            _keep(connection, report.image_id, standing_of(row), standing)
            return report.report_id if earlier is None else str(earlier.report_id)

        return await self._sql.run(work)

    async def decide(self, image_id: str, decision: Decision) -> Case | None:
        def work(connection: Connection) -> Case | None:
            row = _locked(connection, image_id)
            if row is None or row.opened_at_us is None:
                return None
            last = _decisions(connection, [image_id]).get(image_id, [])
            standing = standing_of(row)
            if not (standing.decided and same_decision(last[-1] if last else None, decision)):
                kept = {
                    "image_id": image_id,
                    "number": len(last),
                    "verdict": decision.verdict.value,
                    "reason": decision.reason.value,
                    "moderator_account_id": decision.moderator_account_id,
                    "at_us": microseconds(decision.at),
                    "why": decision.why,
                }
                connection.execute(insert(decisions).values(**kept))
                connection.execute(update(reports).where(reports.c.image_id == image_id).values(answered=True))
                _keep(connection, image_id, standing, after_decision(standing, decision))
            return _case(connection, image_id)

        return await self._sql.run(work)

    async def case(self, image_id: str) -> Case | None:
        return await self._sql.read(lambda connection: _case(connection, image_id))

    async def cases(self, verdicts: Collection[Verdict], limit: int, after: Place | None = None) -> Sequence[Case]:
        table = shared_images.c
        wanted = table.verdict.in_(sorted(verdict.value for verdict in verdicts))
        asked = images_query().where(table.opened_at_us.is_not(None), wanted)
        if set(verdicts) <= OPEN:
            # In the words of the index of those that wait, or it is not used.
            asked = asked.where(text("shared_image.verdict IN ('', 'unsure')"))
        if after is not None:
            asked = asked.where(_behind(after))
        ordered = asked.order_by(desc(table.urgent), desc(table.reports), table.opened_at_us, table.image_id)
        return await self._sql.read(
            lambda connection: _whole(connection, connection.execute(ordered.limit(limit)).all())
        )

    async def untold(self, limit: int) -> Sequence[str]:
        asked = select(shared_images.c.image_id).where(shared_images.c.told.is_(False)).limit(limit)
        return await self._sql.read(lambda connection: list(connection.scalars(asked)))

    async def standing(self, image_id: str) -> Standing | None:
        asked = select(shared_images).where(shared_images.c.image_id == image_id)

        def work(connection: Connection) -> Standing | None:
            row = connection.execute(asked).first()
            return None if row is None else standing_of(row)

        return await self._sql.read(work)

    async def told(self, image_id: str, standing: Standing) -> bool:
        def work(connection: Connection) -> bool:
            row = _locked(connection, image_id)
            if row is None or standing_of(row) != standing:
                return False
            connection.execute(update(shared_images).where(shared_images.c.image_id == image_id).values(told=True))
            return True

        return await self._sql.run(work)


def standing_of(row: Row[Any]) -> Standing:
    """How the image of a row stands."""
    return Standing(
        verdict=Verdict(row.verdict),
        withheld=row.withheld,
        withheld_by=row.withheld_by,
        withheld_network=row.withheld_network,
        opened_at=None if row.opened_at_us is None else time_of(row.opened_at_us),
        decided=row.decided,
        urgent=row.urgent,
        reports=row.reports,
    )


def _keep(connection: Connection, image_id: str, before: Standing, after: Standing) -> None:
    has_news = (before.verdict, before.withheld, before.decided) != (after.verdict, after.withheld, after.decided)
    values = {
        "verdict": after.verdict.value,
        "withheld": after.withheld,
        "withheld_by": after.withheld_by,
        "withheld_network": after.withheld_network,
        "opened_at_us": None if after.opened_at is None else microseconds(after.opened_at),
        "decided": after.decided,
        "urgent": after.urgent,
        "reports": after.reports,
        **({"told": False} if has_news else {}),
    }
    connection.execute(update(shared_images).where(shared_images.c.image_id == image_id).values(**values))


def _locked(connection: Connection, image_id: str) -> Row[Any] | None:
    mine = select(shared_images).where(shared_images.c.image_id == image_id)
    return connection.execute(mine.with_for_update()).first()


def _withheld(connection: Connection, report: Report) -> Withheld:
    """Counted from the index of what is withheld, of which there is never much."""
    table = shared_images.c

    def count(*conditions: ColumnElement[bool]) -> int:
        asked = select(func.count()).select_from(shared_images).where(table.withheld_by != "", *conditions)
        return int(connection.scalar(asked) or 0)

    return Withheld(
        all=count(),
        by_strangers=count(table.withheld_network != ""),
        by_reporter=count(table.withheld_by == report.reporter),
        by_network=count(table.withheld_network == report.network) if report.network else 0,
    )


def _behind(place: Place) -> ColumnElement[bool]:
    """Rows that come after a place in the queue."""
    table, opened_us = shared_images.c, microseconds(place.opened_at)
    later = or_(table.opened_at_us > opened_us, and_(table.opened_at_us == opened_us, table.image_id > place.image_id))
    fewer = or_(table.reports < place.reports, and_(table.reports == place.reports, later))
    same = and_(table.urgent.is_(place.urgent), fewer)
    return or_(table.urgent.is_(False), same) if place.urgent else same


def _case(connection: Connection, image_id: str) -> Case | None:
    mine = images_query().where(shared_images.c.image_id == image_id, shared_images.c.opened_at_us.is_not(None))
    return next(iter(_whole(connection, connection.execute(mine).all())), None)


def _whole(connection: Connection, rows: Sequence[Row[Any]]) -> list[Case]:
    ids = [row.image_id for row in rows]
    voices, reports, decided = _voices(connection, ids), _reports(connection, ids), _decisions(connection, ids)
    return [
        Case(
            image_of(row),
            standing_of(row),
            voices.get(row.image_id, []),
            reports.get(row.image_id, []),
            decided.get(row.image_id, []),
        )
        for row in rows
    ]


def _voices(connection: Connection, ids: Sequence[str]) -> dict[str, list[Voice]]:
    found: dict[str, list[Voice]] = {}
    asked = select(voices).where(voices.c.image_id.in_(ids)).order_by(voices.c.checker)
    for row in connection.execute(asked):
        found.setdefault(row.image_id, []).append(Voice(row.checker, Verdict(row.verdict), row.score))
    return found


def _reports(connection: Connection, ids: Sequence[str]) -> dict[str, list[Report]]:
    found: dict[str, list[Report]] = {}
    newest = func.row_number().over(
        partition_by=reports.c.image_id, order_by=(desc(reports.c.at_us), reports.c.report_id)
    )
    ranked = select(reports, newest.label("rank")).where(reports.c.image_id.in_(ids)).subquery()
    asked = select(ranked).where(ranked.c.rank <= SHOWN_REPORTS).order_by(ranked.c.rank)
    for row in connection.execute(asked):
        report = Report(row.report_id, row.image_id, row.reporter, Reason(row.reason), row.detail, time_of(row.at_us))
        found.setdefault(row.image_id, []).append(report)
    return found


def _decisions(connection: Connection, ids: Sequence[str]) -> dict[str, list[Decision]]:
    found: dict[str, list[Decision]] = {}
    asked = select(decisions).where(decisions.c.image_id.in_(ids)).order_by(decisions.c.number)
    for row in connection.execute(asked):
        decision = Decision(
            Verdict(row.verdict), row.moderator_account_id, time_of(row.at_us), row.why, Reason(row.reason)
        )
        found.setdefault(row.image_id, []).append(decision)
    return found
