"""Restrictions, prompt filters, and decisions, in dictionaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from horde.gateway.core.decisions import APPEAL, Decision
from horde.gateway.core.prompt_filters import PromptFilter
from horde.gateway.core.restrictions import Restriction, targets_of
from horde.gateway.store.tables import microseconds


class MemoryRulings:
    """The part of the store that is about what people who run the horde decided."""

    def __init__(self) -> None:
        super().__init__()
        self._restrictions: dict[str, tuple[Restriction, datetime]] = {}
        self._filters: dict[str, PromptFilter] = {}
        self._used_filters: dict[tuple[str, str], PromptFilter] = {}
        self._filters_changed = 0
        self.decisions: list[Decision] = []

    async def restrict(self, restriction: Restriction, decision: Decision) -> tuple[Restriction, bool]:
        for known, _ in self._restrictions.values():
            if (known.by_account_id, known.request_id) == (restriction.by_account_id, restriction.request_id):
                return known, False
        self._restrictions[restriction.restriction_id] = restriction, decision.at
        self.decisions.append(decision)
        return restriction, True

    async def restriction(self, restriction_id: str) -> Restriction | None:
        known = self._restrictions.get(restriction_id)
        return None if known is None else known[0]

    async def change_restriction(
        self, restriction_id: str, changes: Mapping[str, Any], decision: Decision
    ) -> Restriction | None:
        known = self._restrictions.get(restriction_id)
        if known is None:
            return None
        changed = replace(known[0], **changes)
        self._restrictions[restriction_id] = changed, decision.at
        self.decisions.append(decision)
        return changed

    async def restrictions_in_force(self, now: datetime) -> Sequence[Restriction]:
        return [restriction for restriction in self._newest() if restriction.holds(now)]

    async def restrictions_changed(self, since: datetime) -> Sequence[Restriction]:
        return [known for known in self._newest() if self._restrictions[known.restriction_id][1] >= since]

    async def restrictions(
        self,
        now: datetime,
        limit: int,
        before: Restriction | None = None,
        *,
        past: bool = False,
        appealed: bool = False,
    ) -> Sequence[Restriction]:
        found = self._newest()
        if before is not None:
            place = (before.since, before.restriction_id)
            found = [known for known in found if (known.since, known.restriction_id) < place]
        if not past:
            found = [known for known in found if known.holds(now)]
        if appealed:
            found = [known for known in found if known.appeal_note and known.lifted_at is None]
        return found[:limit]

    def _newest(self) -> list[Restriction]:
        known = [restriction for restriction, _ in self._restrictions.values()]
        return sorted(known, key=lambda restriction: (restriction.since, restriction.restriction_id), reverse=True)

    async def forget_standing(self, account_id: str, now: datetime) -> None:
        own = [known for known in self.decisions if known.by_account_id == account_id and known.action == APPEAL]
        for appeal in own:
            known = self._restrictions.get(appeal.subject)
            if known is not None and known[0].appeal_note == appeal.reason:
                self._restrictions[appeal.subject] = replace(known[0], appeal_note=""), known[1]
        self.decisions = [known for known in self.decisions if known not in own]
        self._restrictions = {
            name: known
            for name, known in self._restrictions.items()
            if known[0].target not in targets_of(account_id) or known[0].holds(now)
        }

    async def decide(self, decision: Decision) -> None:
        self.decisions.append(decision)

    async def decided(
        self, limit: int, before: tuple[datetime, str] | None = None, subject: str = ""
    ) -> Sequence[Decision]:
        about = {subject} | {name for name, (known, _) in self._restrictions.items() if known.target.name == subject}
        found = [
            decision
            for decision in self.decisions
            if (not subject or decision.subject in about)
            and (before is None or (decision.at, decision.decision_id) < before)
        ]
        return sorted(found, key=lambda decision: (decision.at, decision.decision_id), reverse=True)[:limit]

    async def create_filter(self, rule: PromptFilter, decision: Decision) -> tuple[PromptFilter, bool]:
        known = self._used_filters.get((rule.created_by, rule.request_id))
        if known is not None:
            return known, False
        self._filters[rule.filter_id] = self._used_filters[rule.created_by, rule.request_id] = rule
        self._filters_changed = max(self._filters_changed, microseconds(rule.created_at))
        self.decisions.append(decision)
        return rule, True

    async def delete_filter(self, filter_id: str, decision: Decision) -> None:
        if self._filters.pop(filter_id, None) is not None:
            self._filters_changed = max(self._filters_changed, microseconds(decision.at))
            self.decisions.append(decision)

    async def filters(self) -> Sequence[PromptFilter]:
        return sorted(self._filters.values(), key=lambda rule: (rule.created_at, rule.filter_id))

    async def filters_changed_at(self) -> int:
        return self._filters_changed
