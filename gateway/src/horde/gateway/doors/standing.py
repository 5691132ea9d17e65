"""StandingService: people's own record, and what those who run a horde decide about it, each recorded with why."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

from horde.api.standing.v1 import standing_service_pb2 as pb
from horde.gateway.core.decisions import APPEAL, Decision
from horde.gateway.core.errors import AccountNotFound, RoleMissing
from horde.gateway.core.pages import read_place, write_place
from horde.gateway.core.requesters import Principal, Role
from horde.gateway.core.restrictions import Restriction, Target, TargetKind
from horde.gateway.core.standing_errors import InvalidStandingField, RestrictionConflict, RestrictionNotFound
from horde.gateway.core.validation import MAX_NOTE_CHARACTERS, Violations
from horde.gateway.doors.enforcing import Enforcement
from horde.gateway.doors.listing import bad_page_token
from horde.gateway.doors.standing_wire import (
    decision_message,
    record_of,
    restriction_message,
    standing_message,
    target_of,
)
from horde.gateway.neighbours.ledger import LedgerClient
from horde.gateway.neighbours.owners import OwnersClient
from horde.gateway.neighbours.refusals import told_outward
from horde.gateway.neighbours.scheduler import SchedulerClient
from horde.gateway.store.port import IdentityStore
from horde.internal.ledger.v1 import ledger_service_pb2 as ledger_service
from horde.internal.scheduler.v1 import owner_service_pb2 as owner_pb2
from horde.internal.scheduler.v1 import scheduler_service_pb2 as scheduler_pb2
from horde.services.clock import Clock
from horde.services.errors import FieldViolation, InvalidArgument
from horde.services.ids import Ids

MAX_PAGE = 100
USUAL_PAGE = 20
MAX_APPEAL_CHARACTERS = 1_000
MAX_SUBJECT_CHARACTERS = 64
MAX_WINDOW = timedelta(days=7)
MAX_SECONDS = 10 * 365 * 86_400
MAX_OWN_WORKERS = 100
"""Of an account, whose restrictions it is shown."""


class Standing:
    """What StandingService does."""

    def __init__(
        self,
        store: IdentityStore,
        ledger: LedgerClient,
        scheduler: SchedulerClient,
        owners: OwnersClient,
        enforcement: Enforcement,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._scheduler = scheduler
        self._owners = owners
        self._enforcement = enforcement
        self._clock = clock
        self._ids = ids

    async def show(self, principal: Principal, account_id: str, peer: str) -> pb.Standing:
        """How an account stands: the caller's, or another one's for those who run the horde."""
        account_id = await self._subject(principal, account_id)
        own = account_id == principal.account_id
        with told_outward():
            ledgers, schedulers, strikes, restrictions = await asyncio.gather(
                self._ledger.owner(account_id),
                self._owners.owner(account_id),
                self._owners.strikes(account_id, 1, ""),
                self._about(account_id, peer if own else ""),
            )
        last = strikes.strikes[0] if strikes.strikes else None
        record = record_of(ledgers, schedulers, last, restrictions, self._clock.now())
        return standing_message(account_id, record, ledgers, schedulers)

    async def strikes(self, principal: Principal, request: pb.ListStrikesRequest) -> pb.ListStrikesResponse:
        """A page of an account's strikes."""
        wrong = Violations()
        size = wrong.page(request.page_size, request.page_token, MAX_PAGE, USUAL_PAGE)
        _raise(wrong)
        account_id = await self._subject(principal, request.account_id)
        with told_outward():
            try:
                answer = await self._owners.strikes(account_id, size, request.page_token)
            except InvalidArgument as error:
                raise InvalidStandingField(violations=[bad_page_token()]) from error
        return pb.ListStrikesResponse(strikes=answer.strikes, next_page_token=answer.next_page_token)

    async def set_trust(self, principal: Principal, request: pb.SetTrustRequest, peer: str) -> pb.Standing:
        """Trust or distrust by decree, or end a decree."""
        wrong = Violations()
        wrong.uuid("account_id", request.account_id)
        wrong.text("reason", request.reason, MAX_NOTE_CHARACTERS, required=True)
        _raise(wrong)
        await self._require_account(request.account_id)
        decree = request.trusted if request.HasField("trusted") else None
        standing = ledger_service.SetStanding(account_id=request.account_id, trusted=decree, reason=request.reason)
        with told_outward():
            await self._ledger.apply(ledger_service.Event(event_id=str(self._ids.new()), set_standing=standing))
        detail = "by the rule" if decree is None else "trusted" if decree else "distrusted"
        await self._store.decide(self._decision(principal, "set trust", request.account_id, request.reason, detail))
        return await self.show(principal, request.account_id, peer)

    async def restrict(self, principal: Principal, request: pb.RestrictRequest) -> pb.Restriction:
        """Pause or ban somebody."""
        wrong = Violations()
        wrong.uuid("request_id", request.request_id)
        target = target_of(wrong, request.target)
        if request.kind not in (pb.RESTRICTION_KIND_PAUSE, pb.RESTRICTION_KIND_BAN):
            wrong.add("kind", "must be PAUSE or BAN")
        wrong.text("reason", request.reason, MAX_NOTE_CHARACTERS, required=True)
        seconds = request.lasts.seconds if request.HasField("lasts") else None
        if seconds is not None:
            wrong.within("lasts", seconds, 1, MAX_SECONDS, " seconds")
        _raise(wrong)
        assert target is not None
        ban = request.kind == pb.RESTRICTION_KIND_BAN
        if Role.OPERATOR not in principal.roles and ((ban and seconds is None) or await self._runs_the_horde(target)):
            raise RoleMissing(metadata={"role": Role.OPERATOR.value})
        now = self._clock.now()
        asked = Restriction(
            restriction_id=str(self._ids.new()),
            target=target,
            ban=ban,
            reason=request.reason,
            since=now,
            until=None if seconds is None else now + timedelta(seconds=seconds),
            by_account_id=principal.account_id,
            request_id=request.request_id,
        )
        decision = self._decision(
            principal,
            "ban" if ban else "pause",
            asked.restriction_id,
            request.reason,
            f"{target.kind.value} {target.name}",
        )
        kept, new = await self._store.restrict(asked, decision)
        if not new:
            _compare(kept, asked)
        self._enforcement.decided(kept)
        return restriction_message(kept)

    async def lift(self, principal: Principal, request: pb.LiftRestrictionRequest) -> pb.Restriction:
        """End a restriction before its time."""
        wrong = Violations()
        wrong.uuid("restriction_id", request.restriction_id)
        wrong.text("reason", request.reason, MAX_NOTE_CHARACTERS, required=True)
        _raise(wrong)
        known = await self._known(request.restriction_id)
        if known.lifted_at is None:
            changes = {
                "lifted_at": self._clock.now(),
                "lifted_by": principal.account_id,
                "lifted_because": request.reason,
            }
            decision = self._decision(principal, "lift", known.restriction_id, request.reason)
            known = await self._store.change_restriction(known.restriction_id, changes, decision) or known
            self._enforcement.decided(known)
        return restriction_message(known)

    async def page(self, request: pb.ListRestrictionsRequest) -> pb.ListRestrictionsResponse:
        """A page of restrictions, newest first."""
        wrong = Violations()
        size = wrong.page(request.page_size, request.page_token, MAX_PAGE, USUAL_PAGE)
        place = read_place(request.page_token)
        before = await self._store.restriction(place) if place else None
        if place is None or (place and before is None):
            wrong.found.append(bad_page_token())
        _raise(wrong)
        found = await self._store.restrictions(
            self._clock.now(), size + 1, before, past=request.past, appealed=request.appealed
        )
        answer = pb.ListRestrictionsResponse(restrictions=map(restriction_message, found[:size]))
        if len(found) > size:
            answer.next_page_token = write_place(found[size - 1].restriction_id)
        return answer

    async def appeal(self, principal: Principal, request: pb.AppealRestrictionRequest, peer: str) -> pb.Restriction:
        """Leave a note about a restriction that is about the caller."""
        wrong = Violations()
        wrong.uuid("restriction_id", request.restriction_id)
        wrong.text("note", request.note, MAX_APPEAL_CHARACTERS, required=True)
        _raise(wrong)
        known = await self._known(request.restriction_id)
        about = await self._about(principal.account_id, peer)
        if known.restriction_id not in {restriction.restriction_id for restriction in about}:
            raise _not_found(request.restriction_id)
        decision = self._decision(principal, APPEAL, known.restriction_id, request.note)
        changed = await self._store.change_restriction(known.restriction_id, {"appeal_note": request.note}, decision)
        known = changed or replace(known, appeal_note=request.note)
        self._enforcement.decided(known)
        return restriction_message(known)

    async def amnesty(self, principal: Principal, request: pb.GrantAmnestyRequest) -> pb.GrantAmnestyResponse:
        """Forgive everybody's strikes of a window of time."""
        wrong = Violations()
        begin = getattr(request, "from")
        window = timedelta(seconds=request.until.seconds - begin.seconds)
        if not request.HasField("from") or not request.HasField("until") or not timedelta() < window <= MAX_WINDOW:
            wrong.add("until", "must be after `from`, and at most seven days")
        wrong.text("reason", request.reason, MAX_NOTE_CHARACTERS, required=True)
        _raise(wrong)
        asked = owner_pb2.ForgiveStrikesRequest(until=request.until, because=request.reason)
        getattr(asked, "from").CopyFrom(begin)
        with told_outward():
            answer = await self._owners.forgive(asked)
        detail = f"{begin.ToJsonString()} to {request.until.ToJsonString()}: {answer.strikes} strikes"
        await self._store.decide(self._decision(principal, "amnesty", "everybody", request.reason, detail))
        return pb.GrantAmnestyResponse(strikes=answer.strikes, owners=answer.owners)

    async def decisions(self, request: pb.ListDecisionsRequest) -> pb.ListDecisionsResponse:
        """A page of what was decided, newest first."""
        wrong = Violations()
        wrong.text("subject", request.subject, MAX_SUBJECT_CHARACTERS)
        size = wrong.page(request.page_size, request.page_token, MAX_PAGE, USUAL_PAGE)
        place = _place_of(request.page_token)
        if request.page_token and place is None:
            wrong.found.append(bad_page_token())
        _raise(wrong)
        found = await self._store.decided(size + 1, place, request.subject)
        answer = pb.ListDecisionsResponse(decisions=map(decision_message, found[:size]))
        if len(found) > size:
            last = found[size - 1]
            answer.next_page_token = write_place(f"{last.at.isoformat()} {last.decision_id}")
        return answer

    async def _subject(self, principal: Principal, account_id: str) -> str:
        if account_id in ("", principal.account_id):
            return principal.account_id
        if not principal.roles & {Role.OPERATOR, Role.MODERATOR}:
            raise RoleMissing(metadata={"role": Role.MODERATOR.value})
        await self._require_account(account_id)
        return account_id

    async def _require_account(self, account_id: str) -> None:
        if await self._store.account(account_id) is None:
            raise AccountNotFound(metadata={"account_id": account_id})

    async def _runs_the_horde(self, target: Target) -> bool:
        """Whether it is about somebody with a role, whom a moderator alone may not keep out."""
        if target.kind not in (TargetKind.OWNER, TargetKind.REQUESTER):
            return False
        account = await self._store.account(target.name)
        return account is not None and bool(account.roles)

    async def _about(self, account_id: str, peer: str) -> list[Restriction]:
        """All that holds for an account, its workers and where it calls from."""
        request = scheduler_pb2.ListWorkersRequest(owner_account_id=account_id, page_size=MAX_OWN_WORKERS)
        workers = (await self._scheduler.list_workers(request)).workers
        targets = [Target(TargetKind.REQUESTER, account_id), Target(TargetKind.OWNER, account_id)]
        targets += [Target(TargetKind.WORKER, worker.worker_id) for worker in workers]
        return self._enforcement.of(targets, peer)

    async def _known(self, restriction_id: str) -> Restriction:
        known = await self._store.restriction(restriction_id)
        if known is None:
            raise _not_found(restriction_id)
        return known

    def _decision(self, principal: Principal, action: str, subject: str, reason: str, detail: str = "") -> Decision:
        now, account_id = self._clock.now(), principal.account_id
        return Decision(str(self._ids.new()), now, account_id, action, subject, reason, detail)


def _compare(kept: Restriction, asked: Restriction) -> None:
    lasts = [
        None if restriction.until is None else restriction.until - restriction.since for restriction in (kept, asked)
    ]
    same = {
        "target": kept.target == asked.target,
        "kind": kept.ban == asked.ban,
        "reason": kept.reason == asked.reason,
        "lasts": lasts[0] == lasts[1],
    }
    for field, agrees in same.items():
        if not agrees:
            raise RestrictionConflict(metadata={"field": field})


def _place_of(token: str) -> tuple[datetime, str] | None:
    """Before which decision a page begins; None: no such place."""
    at, _, decision_id = (read_place(token) or "").partition(" ")
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        return None
    return (moment, decision_id) if moment.tzinfo is not None else None


def _not_found(restriction_id: str) -> RestrictionNotFound:
    return RestrictionNotFound(metadata={"restriction_id": restriction_id})


def _raise(wrong: Violations) -> None:
    if wrong.found:
        violations: list[FieldViolation] = wrong.found
        raise InvalidStandingField(violations=violations)
