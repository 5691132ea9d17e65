"""The one form of token that this mesh knows: a compact JWS, signed with Ed25519, over a JSON object.

It is what any JWT library makes and reads with the algorithm EdDSA. Written out here because a library that knows every
algorithm spends as long on its choices as on the signature; and because there is nothing to choose: another algorithm,
another header, a text in another encoding than the canonical one, and a name that is said twice are all refused. A test
holds it against PyJWT. Whether a token's time is over and who may say what is the business of `tokens`.
"""

from __future__ import annotations

import json
from binascii import Error as NotBase64
from binascii import a2b_base64, b2a_base64
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ALGORITHM = "EdDSA"
TYPE = "JWT"
MAX_BYTES = 16 * 1024
"""Of a token: four times what the longest of ours takes."""
_HEADERS_KEPT = 256
"""Headers that need not be parsed again: there is one for each key, and junk passes through."""

# What is special in the other alphabet becomes something that is in neither.
_TO_PLAIN = bytes.maketrans(b"-_+/=", b"+/!!!")
_TO_URL = bytes.maketrans(b"+/", b"-_")


class NotAToken(ValueError):
    """It does not have the form."""


class BadSignature(ValueError):
    """It has the form, and the key did not sign it."""


def header_of(key_id: str) -> str:
    """The first part of every token that this key signs."""
    return _encode(_to_json({"alg": ALGORITHM, "kid": key_id, "typ": TYPE}))


def sign(header: str, claims: Mapping[str, Any], key: Ed25519PrivateKey) -> str:
    """A token; `header` is what `header_of` gave."""
    said = f"{header}.{_encode(_to_json(claims))}"
    return f"{said}.{_encode(key.sign(said.encode()))}"


@dataclass(frozen=True, slots=True)
class Unverified:
    """A token of the right form. Nobody has looked at who signed it."""

    key_id: str
    """Of the key that it names."""
    said: bytes
    body: bytes
    signature: bytes

    def verify(self, key: Ed25519PublicKey) -> dict[str, Any]:
        """What it says. Raises BadSignature; NotAToken if what was signed is not a JSON object."""
        try:
            key.verify(self.signature, self.said)
        except InvalidSignature:
            raise BadSignature from None
        return _from_json(self.body)


def read(token: str) -> Unverified:
    """Take a token apart. Raises NotAToken. Nothing but the header is parsed before somebody verifies it."""
    if len(token) > MAX_BYTES:
        raise NotAToken
    try:
        said, _, signature = token.encode("ascii").rpartition(b".")
    except UnicodeEncodeError:
        raise NotAToken from None
    header, dot, body = said.partition(b".")
    if not dot:
        raise NotAToken
    return Unverified(_key_id(header), said, _decode(body), _decode(signature))


@lru_cache(_HEADERS_KEPT)
def _key_id(header: bytes) -> str:
    fields = _from_json(_decode(header))
    key_id = fields.get("kid")
    # Anything more would have to be understood: `crit`, `b64`, `jwk`, `zip`, …
    if not isinstance(key_id, str) or fields != {"alg": ALGORITHM, "kid": key_id, "typ": TYPE}:
        raise NotAToken
    return key_id


def _encode(data: bytes) -> str:
    return b2a_base64(data, newline=False).translate(_TO_URL).rstrip(b"=").decode()


def _decode(part: bytes) -> bytes:
    padded = part.translate(_TO_PLAIN) + b"=" * (-len(part) % 4)
    try:
        data = a2b_base64(padded, strict_mode=True)
    except NotBase64:
        raise NotAToken from None
    # Bits that mean nothing must be zero: a token has one spelling.
    if b2a_base64(data, newline=False) != padded:
        raise NotAToken
    return data


def _to_json(value: Mapping[str, Any]) -> bytes:
    return _ENCODER.encode(value).encode()


def _from_json(data: bytes) -> dict[str, Any]:
    try:
        value = _DECODER.decode(data.decode())
    except (ValueError, RecursionError):
        raise NotAToken from None
    if not isinstance(value, dict):
        raise NotAToken
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotAToken
    return found


def _refuse(constant: str) -> None:
    raise NotAToken


_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
_DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_refuse)
