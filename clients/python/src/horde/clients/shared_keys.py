"""Keys that others may use at the caller's expense, within a budget, a time and bounds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration

from horde.api.account.v1 import account_service_pb2 as pb
from horde.api.account.v1.account_service_pb2_grpc import AccountServiceStub
from horde.clients.credentials import new_api_key
from horde.clients.doors import Doors
from horde.clients.specs import new_request_id


class SharedKeys:
    """Making shared keys, looking at them, ending them."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._stub = AccountServiceStub(doors.gateway)

    async def create(
        self,
        label: str,
        *,
        budget_mkudos: int | None = None,
        lasts: timedelta | None = None,
        bounds: pb.SharedKeyBounds | None = None,
        key: str | None = None,
        request_id: str | None = None,
    ) -> tuple[str, pb.SharedKey]:
        """Make a shared key; the secret, which nobody can show again, and what is known of it.

        Without a budget it may spend all that the caller has. Raises TooManyApiKeys.
        """
        secret = key or new_api_key()
        request = pb.CreateSharedKeyRequest(
            request_id=request_id or new_request_id(),
            label=label,
            key=secret,
            budget_mkudos=budget_mkudos,
            lasts=_duration(lasts),
            bounds=bounds,
        )
        return secret, (await self._doors.ask(self._stub.CreateSharedKey, request)).key

    async def list(self) -> list[pb.SharedKey]:
        """All that are good and the last that were revoked, newest first."""
        return list((await self._doors.ask(self._stub.ListSharedKeys, pb.ListSharedKeysRequest())).keys)

    async def show(self, shared_key_id: str = "") -> pb.SharedKey:
        """One of the caller's; without an id the one that the caller asks with. Raises SharedKeyNotFound."""
        request = pb.GetSharedKeyRequest(shared_key_id=shared_key_id)
        return (await self._doors.ask(self._stub.GetSharedKey, request)).key

    async def update(
        self,
        shared_key_id: str,
        fields: Sequence[str],
        *,
        label: str = "",
        budget_mkudos: int | None = None,
        lasts: timedelta | None = None,
        bounds: pb.SharedKeyBounds | None = None,
    ) -> pb.SharedKey:
        """Change the fields named of `label`, `budget_mkudos`, `lasts`, `bounds`; None takes one away."""
        request = pb.UpdateSharedKeyRequest(
            shared_key_id=shared_key_id,
            label=label,
            budget_mkudos=budget_mkudos,
            lasts=_duration(lasts),
            bounds=bounds,
        )
        request.update_mask.paths.extend(fields)
        return (await self._doors.ask(self._stub.UpdateSharedKey, request)).key

    async def revoke(self, shared_key_id: str) -> pb.SharedKey:
        """Make one useless within five seconds; what was accepted goes on. Raises SharedKeyNotFound."""
        request = pb.RevokeSharedKeyRequest(shared_key_id=shared_key_id)
        return (await self._doors.ask(self._stub.RevokeSharedKey, request)).key


def _duration(lasts: timedelta | None) -> Duration | None:
    if lasts is None:
        return None
    duration = Duration()
    duration.FromTimedelta(lasts)
    return duration
