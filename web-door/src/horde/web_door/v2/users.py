"""Accounts: who a key is, gifts, and keys for others."""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import uuid
from datetime import UTC, timedelta
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from horde.api.account.v1 import account_service_pb2 as pb
from horde.api.worker.v1 import worker_service_pb2
from horde.services.errors import PermissionDenied
from horde.web_door.caller import Caller
from horde.web_door.core.bodies import SharedKeyBody, TransferBody
from horde.web_door.core.refusals import Refusal
from horde.web_door.v2.context import Context

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
KEY_CHARACTERS = 22
ID_CHARACTERS = 16
UNLIMITED = -1
NAMESPACE = uuid.UUID("f0f6a9d0-4d0f-5a6e-8a63-3f0f3a5f2b11")
"""For ids of gifts that follow from what a client sends to have one effect."""


class Users:
    """`find_user`, `users`, `kudos/transfer` and `sharedkeys`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def find(self, request: Request) -> Response:
        """GET find_user."""
        caller = self._context.caller(request)
        if caller.anonymous:
            return JSONResponse(_nobody())
        return JSONResponse(await self._told(caller))

    async def user(self, request: Request) -> Response:
        """GET users/{id}: anonymous, and to a caller himself."""
        caller, wanted = self._context.caller(request), request.path_params["id"]
        if wanted == "0":
            return JSONResponse(_nobody())
        if not caller.anonymous:
            details = await self._told(caller)
            if str(details["id"]) == wanted:
                return JSONResponse(details)
        raise Refusal(404, "UserNotFound", "User not found: people here are shown to themselves alone.")

    async def users(self, request: Request) -> Response:
        """GET users: for operators; people here are shown to themselves alone."""
        caller = self._context.caller(request)
        if caller.anonymous:
            raise Refusal(403, "NotPrivileged", "Only operators may list users here.")
        answer = await self._context.mesh.accounts.ListAccounts(
            pb.ListAccountsRequest(page_size=25), metadata=caller.metadata()
        )
        return JSONResponse([self._account(account) for account in answer.accounts])

    async def _told(self, caller: Caller) -> dict[str, Any]:
        accounts, shown = self._context.mesh.accounts, caller.metadata()
        try:
            answer: pb.GetAccountResponse = await accounts.GetAccount(pb.GetAccountRequest(), metadata=shown)
        except PermissionDenied:
            key: pb.GetSharedKeyResponse = await accounts.GetSharedKey(pb.GetSharedKeyRequest(), metadata=shown)
            return {**_nobody(), "username": f"{_plain(key.key.label) or 'shared key'}#0", "kudos": _left(key.key)}
        workers = await self._context.mesh.workers.ListWorkers(
            worker_service_pb2.ListWorkersRequest(mine=True, page_size=100), metadata=shown
        )
        ids = [worker.worker_id for worker in workers.workers]
        kudos = answer.spend.posted_mkudos / 1_000
        return {
            **self._account(answer.account),
            "kudos": kudos,
            "evaluating_kudos": answer.escrow.posted_mkudos / 1_000,
            "kudos_details": {
                name: kudos if name == "accumulated" else 0.0
                for name in (
                    "accumulated",
                    "admin",
                    "awarded",
                    "donated",
                    "gifted",
                    "received",
                    "recurring",
                    "styled",
                )
            },
            "worker_count": len(ids),
            "worker_ids": ids,
            "contact": answer.account.contact or None,
        }

    def _account(self, account: pb.Account) -> dict[str, Any]:
        age = self._context.clock.now() - account.created_at.ToDatetime(UTC)
        return {
            **_nobody(),
            "username": f"{_plain(account.display_name)}#{account.number}",
            "id": account.number,
            "trusted": account.trusted,
            "moderator": pb.ACCOUNT_ROLE_MODERATOR in account.roles,
            "account_age": max(0, int(age.total_seconds())),
        }

    async def transfer(self, request: Request) -> Response:
        """POST kudos/transfer."""
        caller = self._context.caller(request)
        if caller.anonymous:
            raise Refusal(400, "KudosTransferFromAnon", "Anonymous has no kudos to give.")
        body = await self._context.body(request, TransferBody, caller)
        number = body.username.rpartition("#")[2]
        if not re.fullmatch(r"\d{1,18}", number):
            raise Refusal(400, "InvalidTargetUsername", "The username has the form name#number.")
        if number == "0":
            raise Refusal(400, "KudosTransferToAnon", "Anonymous has no kudos.")
        if body.amount <= 0:
            raise Refusal(400, "NegativeKudosTransfer", "The amount must be above 0.")
        once = request.headers.get("idempotency-key", "")
        name = uuid.uuid5(NAMESPACE, f"{caller.key}/{once}") if once else uuid.uuid4()
        gift = pb.GiftKudosRequest(request_id=str(name), to_account_id=number, amount_mkudos=round(body.amount * 1_000))
        await self._context.mesh.accounts.GiftKudos(gift, metadata=caller.metadata())
        return JSONResponse({"transferred": body.amount})

    async def make_shared_key(self, request: Request) -> Response:
        """PUT sharedkeys."""
        caller = self._context.caller(request)
        body = await self._context.body(request, SharedKeyBody, caller)
        key = "".join(secrets.choice(ALPHABET) for _ in range(KEY_CHARACTERS))
        made = pb.CreateSharedKeyRequest(request_id=str(uuid.uuid4()), label=(body.name or "")[:64], key=key)
        kudos = 5_000 if body.kudos is None else body.kudos
        if kudos != UNLIMITED:
            made.budget_mkudos = kudos * 1_000
        if body.expiry not in (None, UNLIMITED):
            made.lasts.FromTimedelta(timedelta(days=_days(body.expiry)))
        made.bounds.CopyFrom(_bounds(body))
        answer = await self._context.mesh.accounts.CreateSharedKey(made, metadata=caller.metadata())
        return JSONResponse(_shared_key(key, answer.key))

    async def shared_key(self, request: Request) -> Response:
        """GET sharedkeys/{id}: the id is the key, which is the right to see it."""
        key = _key_of(request)
        caller = Caller(self._context.caller(request).address, key)
        answer = await self._context.mesh.accounts.GetSharedKey(pb.GetSharedKeyRequest(), metadata=caller.metadata())
        return JSONResponse(_shared_key(key, answer.key))

    async def change_shared_key(self, request: Request) -> Response:
        """PATCH sharedkeys/{id}, by its owner."""
        caller, key = self._context.caller(request), _key_of(request)
        body = await self._context.body(request, SharedKeyBody, caller)
        change = pb.UpdateSharedKeyRequest(shared_key_id=_id_of(key))
        paths = []
        if body.name is not None:
            change.label = body.name[:64]
            paths.append("label")
        if body.kudos is not None:
            paths.append("budget_mkudos")
            if body.kudos != UNLIMITED:
                change.budget_mkudos = body.kudos * 1_000
        if body.expiry is not None:
            paths.append("lasts")
            if body.expiry != UNLIMITED:
                change.lasts.FromTimedelta(timedelta(days=_days(body.expiry)))
        if body.max_image_pixels is not None or body.max_image_steps is not None:
            paths.append("bounds")
            change.bounds.CopyFrom(_bounds(body))
        change.update_mask.CopyFrom(FieldMask(paths=paths))
        answer = await self._context.mesh.accounts.UpdateSharedKey(change, metadata=caller.metadata())
        return JSONResponse(_shared_key(key, answer.key))

    async def revoke_shared_key(self, request: Request) -> Response:
        """DELETE sharedkeys/{id}, by its owner."""
        caller, key = self._context.caller(request), _key_of(request)
        revoke = pb.RevokeSharedKeyRequest(shared_key_id=_id_of(key))
        await self._context.mesh.accounts.RevokeSharedKey(revoke, metadata=caller.metadata())
        return JSONResponse({"message": "OK"})


def _nobody() -> dict[str, Any]:
    return {
        "username": "Anonymous#0",
        "id": 0,
        "kudos": 0.0,
        "trusted": False,
        "moderator": False,
        "flagged": False,
        "pseudonymous": False,
        "account_age": 0,
        "worker_count": 0,
        "concurrency": 30,
        "worker_invited": 0,
    }


def _plain(name: str) -> str:
    return name.replace("#", "")


def _days(days: int | None) -> int:
    if days is None or not 0 < days <= 3_650:
        raise Refusal(400, "BadRequest", "expiry is 1 to 3650 days, or -1 for ever.")
    return days


def _bounds(body: SharedKeyBody) -> pb.SharedKeyBounds:
    return pb.SharedKeyBounds(
        max_pixels=max(0, body.max_image_pixels or 0), max_steps=max(0, body.max_image_steps or 0)
    )


def _shared_key(secret: str, key: pb.SharedKey) -> dict[str, Any]:
    return {
        "id": secret,
        "name": key.label,
        "kudos": _left(key),
        "utilized": key.spent_mkudos / 1_000,
        "expiry": key.expires_at.ToDatetime().isoformat() if key.HasField("expires_at") else None,
        "max_image_pixels": key.bounds.max_pixels or UNLIMITED,
        "max_image_steps": key.bounds.max_steps or UNLIMITED,
        "max_text_tokens": UNLIMITED,
    }


def _left(key: pb.SharedKey) -> float:
    return (key.budget_mkudos - key.spent_mkudos) / 1_000 if key.HasField("budget_mkudos") else float(UNLIMITED)


def _key_of(request: Request) -> str:
    key: str = request.path_params["id"]
    if not re.fullmatch(r"[0-9A-Za-z]{22}", key):
        raise Refusal(404, "SharedKeyNotFound", "There is no such shared key.")
    return key


def _id_of(key: str) -> str:
    """The id that follows from a key, as the contract has it: 16 digits of its SHA-256 in base 62, least first."""
    number = int.from_bytes(hashlib.sha256(key.encode()).digest(), "big")
    digits = []
    for _ in range(ID_CHARACTERS):
        number, digit = divmod(number, 62)
        digits.append(ALPHABET[digit])
    return "".join(digits)
