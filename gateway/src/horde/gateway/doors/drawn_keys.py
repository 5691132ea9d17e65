"""Keys that clients drew: what is asked of one before it is made good."""

from __future__ import annotations

from horde.gateway.core.credentials import ApiKeyCredential, parse_api_key
from horde.gateway.core.errors import AccountRequestConflict, CredentialsMalformed
from horde.gateway.core.validation import Violations
from horde.gateway.store.port import IdentityStore


def drawn_key(wrong: Violations, field: str, text: str) -> ApiKeyCredential:
    """The key that a client has drawn; what is none, or was not drawn, is noted."""
    try:
        key = parse_api_key(text)
    except CredentialsMalformed:
        wrong.add(field, "must be 22 of 0-9, A-Z, a-z, drawn at random" if text else "is missing: draw one")
        return ApiKeyCredential(text)
    if not key.random_looking:
        wrong.add(field, "must be drawn at random, and is not")
    return key


async def require_no_shared_key(store: IdentityStore, key: ApiKeyCredential) -> None:
    """Raise AccountRequestConflict where an API key is asked for that is a shared key already, or was."""
    if await store.shared_key(key.api_key_id) is not None:
        raise AccountRequestConflict(metadata={"field": "api_key"})


async def require_unused(store: IdentityStore, key: ApiKeyCredential, account_id: str, request_id: str) -> None:
    """Raise AccountRequestConflict where a shared key is asked for that is good already, or was, for anything else."""
    known = await store.shared_key(key.api_key_id)
    theirs = known is not None and (known.account_id, known.request_id) != (account_id, request_id)
    if theirs or await store.key(key.api_key_id) is not None:
        raise AccountRequestConflict(metadata={"field": "key"})
