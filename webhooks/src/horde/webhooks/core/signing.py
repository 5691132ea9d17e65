"""The Standard Webhooks form: how a delivery is signed, and what a secret looks like."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

PREFIX: Final = "whsec_"
LEAST_BYTES: Final = 24
MOST_BYTES: Final = 64


class BadSecret(ValueError):
    """Why a text is no secret, for people."""


def secret_of(text: str) -> bytes:
    """The bytes of a secret. Raises BadSecret."""
    try:
        if not text.startswith(PREFIX):
            raise BadSecret(f"must begin with {PREFIX}")
        secret = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadSecret(f"must be {PREFIX} and the base64 of {LEAST_BYTES} to {MOST_BYTES} bytes") from error
    if not LEAST_BYTES <= len(secret) <= MOST_BYTES:
        raise BadSecret(f"must hold {LEAST_BYTES} to {MOST_BYTES} bytes, and holds {len(secret)}")
    return secret


def headers(delivery_id: str, at_seconds: int, body: bytes, secrets: Sequence[bytes]) -> dict[str, str]:
    """What goes with a delivery; a signature for each secret."""
    signed = b".".join((delivery_id.encode(), str(at_seconds).encode(), body))
    digests = [hmac.digest(secret, signed, hashlib.sha256) for secret in secrets]
    return {
        "webhook-id": delivery_id,
        "webhook-timestamp": str(at_seconds),
        "webhook-signature": " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests),
    }
