"""Keys that clients drew: what is asked of one before it is made good."""

from __future__ import annotations

from collections.abc import Callable

from horde.gateway.core.credentials import ApiKeyCredential, drawn_key, new_api_key
from horde.gateway.core.errors import AccountRequestConflict
from horde.gateway.core.identities import Account, ApiKey
from horde.gateway.core.validation import Violations
from horde.gateway.store.port import IdentityStore


def asked_key(wrong: Violations, field: str, text: str) -> ApiKeyCredential:
    """The key that a request brings; one that cannot be is a violation, and another stands in for it."""
    key = drawn_key(text)
    if key is None:
        wrong.add(field, "must be 22 characters of 0-9, A-Z, a-z, drawn at random" if text else "is missing")
        return new_api_key()
    return key


async def require_unused(
    store: IdentityStore,
    key: ApiKeyCredential,
    field: str,
    *,
    api_key: Callable[[ApiKey, Account], bool] = lambda key, owner: False,
    shared: Callable[[str, str], bool] = lambda account_id, request_id: False,
) -> None:
    """Raise AccountRequestConflict where this key is good already, or was, for anything but this request.

    `api_key` and `shared` (account_id, request_id) say whether the known one is of this request.
    """
    known = await store.key(key.api_key_id)
    if known is not None and not api_key(*known):
        raise AccountRequestConflict(metadata={"field": field})
    other = await store.shared_key(key.api_key_id)
    if other is not None and not shared(other.account_id, other.request_id):
        raise AccountRequestConflict(metadata={"field": field})
