"""Prompt filters: rules that moderators make, held against every prompt that is asked for here.

All rules are kept here, compiled. Whether there are others now is looked at every POLL_SECONDS; where replicas share a
Redis they tell each other at once.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from horde.api.moderation.v1 import moderation_service_pb2 as pb
from horde.gateway.core.decisions import Decision
from horde.gateway.core.errors import PromptRefused
from horde.gateway.core.moderation_errors import FilterConflict, InvalidFilterField
from horde.gateway.core.pages import read_place, write_place
from horde.gateway.core.prompt_filters import MAX_FILTERS, FilterKind, PromptFilter
from horde.gateway.core.prompt_rules import PromptRules, compiled
from horde.gateway.core.requesters import Principal
from horde.gateway.core.spec import GenerationSpec
from horde.gateway.core.validation import MAX_NOTE_CHARACTERS, MAX_PROMPT_CHARACTERS, Violations
from horde.gateway.doors.listing import bad_page_token
from horde.gateway.store.port import RulingStore
from horde.services.clock import Clock
from horde.services.errors import FieldViolation, ServiceError
from horde.services.ids import Ids
from horde.services.shared.port import Shared
from horde.services.telemetry import get_logger

log = get_logger(__name__)

TOPIC = "filters"
POLL_SECONDS = 2.0
MAX_PAGE = 500
USUAL_PAGE = 100
MAX_MESSAGE_CHARACTERS = 200
MAX_PATTERN_CHARACTERS = 1_000


class PromptFilters(Protocol):
    """The port: what may refuse a prompt."""

    def check(self, spec: GenerationSpec) -> None:
        """Raise PromptRefused for a prompt that is not taken here. What is not wished for may be named."""


class Filters:
    """The rules in force here."""

    def __init__(self, store: RulingStore, shared: Shared, clock: Clock, ids: Ids) -> None:
        self._store = store
        self._shared = shared
        self._clock = clock
        self._ids = ids
        self._rules = PromptRules()
        self._changed_at = 0
        self._wanted = asyncio.Event()
        shared.subscribe(TOPIC, lambda news: self._wanted.set())

    def check(self, spec: GenerationSpec) -> None:
        """Raise PromptRefused, which names the rule, for a prompt that meets one."""
        met = self._rules.met_by(spec.image.prompt) if spec.image is not None else []
        if met:
            first = met[0]
            metadata = {"field": "spec.job.image.prompt", "rule": first.filter_id, "message": first.message}
            raise PromptRefused(f"The prompt meets a rule of this mesh: {first.message}", metadata=metadata)

    async def load(self) -> None:
        """Know all rules; before the first call is taken."""
        self._changed_at = await self._store.filters_changed_at()
        self._rules = PromptRules(await self._store.filters())

    async def run(self) -> None:
        """Take in what others decided. Runs until cancelled."""
        while True:
            self._wanted.clear()
            timer = self._clock.call_later(POLL_SECONDS, self._wanted.set)
            try:
                await self._wanted.wait()
            finally:
                timer.cancel()
            try:
                if await self._store.filters_changed_at() != self._changed_at:
                    await self.load()
            except ServiceError as error:
                log.warning("prompt filters could not be looked at", error=str(error))

    async def page(self, request: pb.ListFiltersRequest) -> pb.ListFiltersResponse:
        """A page of the rules, oldest first."""
        wrong = Violations()
        size = wrong.page(request.page_size, request.page_token, MAX_PAGE, USUAL_PAGE)
        place = read_place(request.page_token)
        rules = list(await self._store.filters())
        ids = [rule.filter_id for rule in rules]
        if place is None or (place and place not in ids):
            wrong.found.append(bad_page_token())
        _raise(wrong)
        begin = ids.index(place) + 1 if place else 0
        answer = pb.ListFiltersResponse(filters=map(filter_message, rules[begin : begin + size]))
        if begin + size < len(rules):
            answer.next_page_token = write_place(ids[begin + size - 1])
        return answer

    async def create(self, principal: Principal, request: pb.CreateFilterRequest) -> pb.Filter:
        """Add a rule."""
        rule = self._asked(principal, request)
        if len(await self._store.filters()) >= MAX_FILTERS:
            full = FieldViolation("pattern", f"there are {MAX_FILTERS} rules already")
            raise InvalidFilterField(violations=[full])
        decision = self._decision(principal, "create filter", rule.filter_id, rule.note, rule.pattern)
        kept, new = await self._store.create_filter(rule, decision)
        if not new:
            for field in ("kind", "pattern", "message", "note"):
                if getattr(kept, field) != getattr(rule, field):
                    raise FilterConflict(metadata={"field": field})
        await self._tell()
        return filter_message(kept)

    async def delete(self, principal: Principal, filter_id: str) -> None:
        """End a rule."""
        wrong = Violations()
        wrong.uuid("filter_id", filter_id)
        _raise(wrong)
        await self._store.delete_filter(filter_id, self._decision(principal, "delete filter", filter_id, ""))
        await self._tell()

    def test(self, prompt: str) -> pb.TestFiltersResponse:
        """Which rules a prompt would meet."""
        wrong = Violations()
        wrong.text("prompt", prompt, MAX_PROMPT_CHARACTERS)
        _raise(wrong)
        return pb.TestFiltersResponse(filters=map(filter_message, self._rules.met_by(prompt)))

    def _asked(self, principal: Principal, request: pb.CreateFilterRequest) -> PromptFilter:
        wrong = Violations()
        wrong.uuid("request_id", request.request_id)
        wrong.text("pattern", request.pattern, MAX_PATTERN_CHARACTERS, required=True)
        wrong.text("message", request.message, MAX_MESSAGE_CHARACTERS, required=True)
        wrong.text("note", request.note, MAX_NOTE_CHARACTERS)
        try:
            kind = FilterKind(request.kind)
            compiled(kind, request.pattern)
        except ValueError as error:
            known = request.kind in FilterKind._value2member_map_
            wrong.add("pattern" if known else "kind", str(error) if known else "must be one that is known here")
        _raise(wrong)
        return PromptFilter(
            filter_id=str(self._ids.new()),
            kind=kind,
            pattern=request.pattern,
            message=request.message,
            note=request.note,
            created_by=principal.account_id,
            created_at=self._clock.now(),
            request_id=request.request_id,
        )

    async def _tell(self) -> None:
        await self.load()
        self._shared.publish(TOPIC, b"look")

    def _decision(self, principal: Principal, action: str, subject: str, reason: str, detail: str = "") -> Decision:
        now, account_id = self._clock.now(), principal.account_id
        return Decision(str(self._ids.new()), now, account_id, action, subject, reason, detail)


def filter_message(rule: PromptFilter) -> pb.Filter:
    """A rule in the contract's words."""
    message = pb.Filter(
        filter_id=rule.filter_id,
        kind=int(rule.kind),  # type: ignore[arg-type]
        pattern=rule.pattern,
        message=rule.message,
        created_by_account_id=rule.created_by,
        note=rule.note,
    )
    message.created_at.FromDatetime(rule.created_at)
    return message


def _raise(wrong: Violations) -> None:
    if wrong.found:
        raise InvalidFilterField(violations=wrong.found)
