"""What a caller shows: the `authorization` metadata, API keys, and how a key's secret is remembered.

A key is 22 random digits in base 62, 131 bits, drawn by whoever is to have it. Its digest names the row that it is
looked up by; what is stored beside that is an HMAC of it under a pepper that lies in a file of its own: a stolen
database opens nothing. A slow hash would add nothing to 131 bits, and would be a way to keep this service busy.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from horde.gateway.core.errors import CredentialsMalformed, CredentialsMissing

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
KEY_CHARACTERS = 22
ID_CHARACTERS = 16
LEAST_DIFFERENT = 8
"""A key drawn at random has fewer different digits than this once in 10^13 times."""
MAX_AUTHORIZATION_CHARACTERS = 256
PEPPER_BYTES = 32

_KEY = re.compile(r"[0-9A-Za-z]{22}\Z", re.ASCII)
_ANONYMOUS = re.compile(r"[0-9a-fA-F]{32}\Z", re.ASCII)
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class ApiKeyCredential:
    """An API key as shown. Not to be logged."""

    secret: str = field(repr=False)

    @property
    def api_key_id(self) -> str:
        """What the key is looked up by. It leads not back to the key."""
        digest = hashlib.sha256(self.secret.encode()).digest()
        return _base62(int.from_bytes(digest, "big"), ID_CHARACTERS)

    @property
    def random_looking(self) -> bool:
        """Whether it may have been drawn at random, and not typed."""
        return len(set(self.secret)) >= LEAST_DIFFERENT

    def text(self) -> str:
        """The key as its owner keeps it."""
        return self.secret


@dataclass(frozen=True, slots=True)
class AnonymousCredential:
    """What remains of an anonymous token: the SHA-256 of its 16 bytes."""

    digest: bytes


@dataclass(frozen=True, slots=True)
class PassCredential:
    """The pass of one generation as shown. Not to be logged."""

    pass_id: UUID = field(repr=False)


Credential = ApiKeyCredential | AnonymousCredential | PassCredential


def parse_authorization(values: Sequence[str | bytes]) -> Credential:
    """Read the `authorization` metadata; raises CredentialsMissing or CredentialsMalformed."""
    if not values:
        raise CredentialsMissing
    value = values[0]
    if len(values) > 1 or not isinstance(value, str) or len(value) > MAX_AUTHORIZATION_CHARACTERS:
        raise CredentialsMalformed
    scheme, _, rest = value.partition(" ")
    if scheme.lower() == "bearer":
        return parse_api_key(rest)
    if scheme.lower() == "anonymous" and _ANONYMOUS.match(rest):
        return AnonymousCredential(hashlib.sha256(bytes.fromhex(rest)).digest())
    if scheme.lower() == "pass" and _UUID.match(rest):
        return PassCredential(UUID(rest))
    raise CredentialsMalformed


def parse_api_key(text: str) -> ApiKeyCredential:
    """Read a key; raises CredentialsMalformed."""
    if _KEY.match(text) is None:
        raise CredentialsMalformed
    return ApiKeyCredential(text)


def new_api_key(random_below: Callable[[int], int] = secrets.randbelow) -> ApiKeyCredential:
    """A key that nobody had before. `random_below(n)` draws uniformly from 0 to n-1."""
    return ApiKeyCredential(_base62(random_below(62**KEY_CHARACTERS), KEY_CHARACTERS))


def _base62(number: int, characters: int) -> str:
    """That many digits of a number, the least first."""
    digits = []
    for _ in range(characters):
        number, digit = divmod(number, 62)
        digits.append(ALPHABET[digit])
    return "".join(digits)


class Peppers:
    """The secrets under which keys' digests are made: the first is in use, the others are for keys made before."""

    def __init__(self, peppers: Sequence[bytes]) -> None:
        if not peppers or any(len(pepper) != PEPPER_BYTES for pepper in peppers):
            raise ValueError(f"a pepper is {PEPPER_BYTES} bytes, and there is at least one")
        self._by_id = {hashlib.sha256(b"pepper" + pepper).hexdigest()[:8]: pepper for pepper in peppers}
        self.current_id = next(iter(self._by_id))

    @property
    def ids(self) -> frozenset[str]:
        """What keys' records call these peppers."""
        return frozenset(self._by_id)

    def digest(self, credential: ApiKeyCredential) -> bytes:
        """What is stored of a new key, under the pepper in use."""
        return self._digest(credential, self._by_id[self.current_id])

    def matches(self, credential: ApiKeyCredential, pepper_id: str, digest: bytes) -> bool:
        """Whether a key is the stored one; takes as long for a wrong one as for a right one."""
        pepper = self._by_id.get(pepper_id)
        return pepper is not None and hmac.compare_digest(self._digest(credential, pepper), digest)

    def mark(self, text: bytes) -> bytes:
        """What only those who have the pepper in use can say of a text."""
        return hmac.digest(self._by_id[self.current_id], text, hashlib.sha256)

    def marked(self, text: bytes, mark: bytes) -> bool:
        """Whether this was said of the text, under any pepper."""
        return any(hmac.compare_digest(hmac.digest(key, text, hashlib.sha256), mark) for key in self._by_id.values())

    @staticmethod
    def _digest(credential: ApiKeyCredential, pepper: bytes) -> bytes:
        return hmac.digest(pepper, credential.secret.encode(), hashlib.sha256)


def parse_peppers(text: str) -> Peppers:
    """Read a pepper file: one pepper a line, in hex, the one in use first."""
    return Peppers([bytes.fromhex(line) for line in text.split()])
