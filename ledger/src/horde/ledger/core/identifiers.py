"""Ids that are derived from what they are about, so that anybody can repeat a step. Which id is derived from what is
said in the contract (`ledger_service.proto`, Event); here is only how."""

from __future__ import annotations

import re
from hashlib import sha1
from typing import Final

NAMESPACE: Final = "6f1a3a1e-2d0c-5c6e-9b57-0b6c8f6d4a11"
"""The mesh's namespace, from `job.proto`."""

is_uuid: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").fullmatch
"""Whether a text is a UUID in its canonical lower-case form."""

is_name: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,63}").fullmatch
"""Whether a text can be an account's or a worker's id: most are UUIDs, `anonymous` is not."""


def id_bytes(text: str) -> bytes:
    """The 16 bytes of a canonical UUID."""
    return bytes.fromhex(text.replace("-", ""))


def id_text(raw: bytes) -> str:
    """The canonical UUID of 16 bytes."""
    digits = raw.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def derived(namespace: str, name: str) -> str:
    """uuid5(namespace, name) (RFC 9562, 5.5), as `uuid.uuid5` gives it at a third of the cost: every event needs
    some."""
    digest = bytearray(sha1(id_bytes(namespace) + name.encode(), usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    return id_text(bytes(digest))


def holds_event_id(generation_id: str) -> str:
    """Of the event that holds for a generation."""
    return derived(generation_id, "holds")


def hold_id(job_id: str) -> str:
    """Of a job's hold."""
    return derived(job_id, "hold")


def settle_event_id(job_id: str) -> str:
    """Of the one event that settles or releases a job."""
    return derived(job_id, "settle")


def uptime_event_id(worker_id: str, bucket: int) -> str:
    """Of the reward for one bucket of ten minutes."""
    return derived(worker_id, str(bucket))


def rating_event_id(rating_id: str) -> str:
    """Of the one reward for a rating."""
    return derived(rating_id, "reward")


def slash_event_id(job_id: str) -> str:
    """Of the one event that slashes for a job."""
    return derived(job_id, "slash")


def verification_event_id(job_id: str) -> str:
    """Of the one event that frees what a job put into escrow."""
    return derived(job_id, "verification")


def correction_event_id(event_id: str) -> str:
    """Of the one event that reverses another."""
    return derived(event_id, "correction")


def promotion_event_id(account_id: str, number: int) -> str:
    """Of an owner's `number`-th promotion, from 1. The ledger makes these events itself."""
    return derived(NAMESPACE, f"promotion/{account_id}/{number}")


def close_event_id(account_id: str) -> str:
    """Of the one event that ends an account."""
    return derived(account_id, "close")


def forfeit_event_id(account_id: str, sequence: int) -> str:
    """Of the burning of what came to a closed account by the entry of that sequence. The ledger makes these itself."""
    return derived(NAMESPACE, f"forfeit/{account_id}/{sequence}")


def transfer_id(event_id: str, line: int) -> str:
    """Of an entry's transfer, by its place from 0."""
    return derived(event_id, str(line))
