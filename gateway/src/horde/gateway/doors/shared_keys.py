"""Shared keys: what their owner does with them, and what a holder may know."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration

from horde.api.account.v1 import account_service_pb2 as pb
from horde.gateway.core.allowance import MAX_MODELS, SharedKey
from horde.gateway.core.credentials import Peppers
from horde.gateway.core.errors import AccountRequestConflict, InvalidAccountField, SharedKeyNotFound
from horde.gateway.core.requesters import Principal
from horde.gateway.core.validation import MAX_MKUDOS, Violations
from horde.gateway.doors import wire
from horde.gateway.doors.account_life import checked_mask
from horde.gateway.doors.allowances import Allowances
from horde.gateway.doors.drawn_keys import drawn_key, require_unused
from horde.gateway.store.port import IdentityStore
from horde.services.clock import Clock

MAX_LABEL_CHARACTERS = 64
MAX_BOUND = 2**31 - 1
MIN_LASTS_SECONDS, MAX_LASTS_SECONDS = 60, 10 * 366 * 24 * 3600
CHANGEABLE = ("label", "budget_mkudos", "lasts", "bounds")


class SharedKeys:
    """What AccountService does with shared keys."""

    def __init__(
        self,
        store: IdentityStore,
        allowances: Allowances,
        peppers: Peppers,
        clock: Clock,
        *,
        changed: Callable[[str], None],
    ) -> None:
        """`changed` is called with the id of a key that must be looked up anew, by every replica."""
        self._store = store
        self._allowances = allowances
        self._peppers = peppers
        self._clock = clock
        self._changed = changed

    async def create(self, principal: Principal, request: pb.CreateSharedKeyRequest) -> SharedKey:
        """Make a key good; the same request again is answered with the same key, as it is now."""
        wrong = Violations()
        wrong.uuid("request_id", request.request_id)
        shown = drawn_key(wrong, "key", request.key)
        _check(wrong, request, CHANGEABLE)
        if wrong.found:
            raise InvalidAccountField(violations=wrong.found)
        await require_unused(self._store, shown, principal.account_id, request.request_id)
        # What a repeat must equal, without the secret.
        asked = pb.CreateSharedKeyRequest()
        asked.CopyFrom(request)
        asked.ClearField("key")
        now = self._clock.now()
        key = SharedKey(
            shared_key_id=shown.api_key_id,
            account_id=principal.account_id,
            label=request.label,
            digest=self._peppers.digest(shown),
            pepper_id=self._peppers.current_id,
            created_at=now,
            request_id=request.request_id,
            asked=asked.SerializeToString(deterministic=True),
            budget_mkudos=request.budget_mkudos if request.HasField("budget_mkudos") else None,
            expires_at=now + _span(request.lasts) if request.HasField("lasts") else None,
            bounds=wire.bounds_of(request.bounds),
        )
        kept, created = await self._store.create_shared_key(key)
        if not created:
            before = pb.CreateSharedKeyRequest.FromString(kept.asked)
            for field in ("label", "key", "budget_mkudos", "lasts", "bounds"):
                same = kept.shared_key_id == key.shared_key_id if field == "key" else _same(before, asked, field)
                if not same:
                    raise AccountRequestConflict(metadata={"field": field})
        return kept

    async def page(self, principal: Principal) -> Sequence[SharedKey]:
        """The account's, newest first, with what was spent lately."""
        for key in await self._store.shared_keys(principal.account_id):
            if key.open_generations:
                await self._allowances.settle(key.shared_key_id)
        return await self._store.shared_keys(principal.account_id)

    async def get(self, principal: Principal, shared_key_id: str) -> SharedKey:
        """One, for its owner, or (without an id) the one that the caller came with."""
        name = shared_key_id or principal.shared_key_id
        if not name or (principal.shared_key_id and name != principal.shared_key_id):
            raise _not_found(name)
        key = await self._store.shared_key(name[:64])
        if key is None or key.account_id != principal.account_id:
            raise _not_found(name)
        if not key.open_generations:
            return key
        await self._allowances.settle(name)
        return await self._store.shared_key(name) or key

    async def update(self, principal: Principal, request: pb.UpdateSharedKeyRequest) -> SharedKey:
        """Change what the mask names. A field that is named and absent is taken away: no budget, no end, no bounds."""
        wrong = Violations()
        named = checked_mask(wrong, request.update_mask.paths, CHANGEABLE)
        _check(wrong, request, named)
        if wrong.found:
            raise InvalidAccountField(violations=wrong.found)
        until = self._clock.now() + _span(request.lasts) if request.HasField("lasts") else None
        fields: Mapping[str, tuple[str, Any]] = {
            "label": ("label", request.label),
            "budget_mkudos": ("budget_mkudos", request.budget_mkudos if request.HasField("budget_mkudos") else None),
            "lasts": ("expires_at", until),
            "bounds": ("bounds", wire.bounds_of(request.bounds)),
        }
        return await self._change(principal, request.shared_key_id, dict(fields[path] for path in named))

    async def revoke(self, principal: Principal, shared_key_id: str) -> SharedKey:
        """Make one useless, here at once; what was accepted goes on."""
        return await self._change(principal, shared_key_id, {"revoked": True})

    async def _change(self, principal: Principal, shared_key_id: str, changes: Mapping[str, Any]) -> SharedKey:
        key = await self._store.change_shared_key(principal.account_id, shared_key_id[:64], changes)
        if key is None:
            raise _not_found(shared_key_id)
        self._changed(shared_key_id)
        return key


def _check(
    wrong: Violations, asked: pb.CreateSharedKeyRequest | pb.UpdateSharedKeyRequest, named: Sequence[str]
) -> None:
    """The fields that the making and the changing of a key have in common, as far as they are named."""
    if "label" in named:
        wrong.text("label", asked.label, MAX_LABEL_CHARACTERS, one_line=True)
    if "budget_mkudos" in named and asked.HasField("budget_mkudos"):
        wrong.within("budget_mkudos", asked.budget_mkudos, 0, MAX_MKUDOS)
    if "lasts" in named and asked.HasField("lasts"):
        wrong.within("lasts", asked.lasts.seconds, MIN_LASTS_SECONDS, MAX_LASTS_SECONDS, " seconds")
        wrong.within("lasts.nanos", asked.lasts.nanos, 0, 999_999_999)
    if "bounds" in named:
        for bound in ("max_pixels", "max_steps", "max_count", "max_total_mkudos", "max_open_generations"):
            most = MAX_MKUDOS if bound in ("max_pixels", "max_total_mkudos") else MAX_BOUND
            wrong.within(f"bounds.{bound}", getattr(asked.bounds, bound), 0, most)
        wrong.within("bounds.models", len(asked.bounds.models), 0, MAX_MODELS, " models")
        for index, model in enumerate(asked.bounds.models[:MAX_MODELS]):
            wrong.name(f"bounds.models[{index}]", model)


def _same(before: pb.CreateSharedKeyRequest, asked: pb.CreateSharedKeyRequest, field: str) -> bool:
    if field != "label" and before.HasField(field) != asked.HasField(field):  # type: ignore[arg-type]
        return False
    return bool(getattr(before, field) == getattr(asked, field))


def _span(lasts: Duration) -> timedelta:
    return timedelta(seconds=lasts.seconds, microseconds=lasts.nanos // 1000)


def _not_found(shared_key_id: str) -> SharedKeyNotFound:
    return SharedKeyNotFound(metadata={"shared_key_id": shared_key_id[:64]})
