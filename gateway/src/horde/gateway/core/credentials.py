"""What a caller shows: the `authorization` metadata, API keys, and how a key's secret is remembered.

A key is 22 characters of base 62 that its user drew (131 bits); its id, which finds the row, is a digest of it. Keys
that are drawn here are of an older form, `horde_<id>_<secret>`: the id finds the row, the secret is 256 random bits in
base 62 and six more characters that check it, so that a mistyped key costs no look-up. What is stored of either is an
HMAC under a pepper that lies in a file of its own: a stolen database opens nothing. A slow hash would add nothing to
131 bits, and would be a way to keep this service busy.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import re
import secrets
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from horde.gateway.core.errors import ApiKeyUnknown, CredentialsMalformed, CredentialsMissing

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ID_CHARACTERS = 16
SECRET_CHARACTERS = 43
CHECK_CHARACTERS = 6
PLAIN_KEY_CHARACTERS = 22
MIN_DISTINCT_CHARACTERS = 10
MAX_STEPS_IN_ROW = 10
"""Neighbours in a drawn key that are equal or next to each other in the alphabet.

Of ten million keys drawn at random these two bounds together refuse less than one.
"""
HINT_CHARACTERS = 4
MAX_AUTHORIZATION_CHARACTERS = 256
PEPPER_BYTES = 32

_KEY = re.compile(r"horde_([0-9A-Za-z]{1,32})_([0-9A-Za-z]{1,128})\Z", re.ASCII)
_PLAIN_KEY = re.compile(r"[0-9A-Za-z]{22}\Z", re.ASCII)
_ANONYMOUS = re.compile(r"[0-9a-fA-F]{32}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class ApiKeyCredential:
    """An API key as shown. Not to be logged."""

    api_key_id: str
    secret: str

    def __repr__(self) -> str:
        return f"ApiKeyCredential(api_key_id={self.api_key_id!r})"

    def text(self) -> str:
        """The key as its owner keeps it."""
        plain = len(self.secret) == PLAIN_KEY_CHARACTERS
        return self.secret if plain else f"horde_{self.api_key_id}_{self.secret}"

    @property
    def hint(self) -> str:
        """Its last characters, for people to tell keys apart."""
        return self.secret[-HINT_CHARACTERS:]


@dataclass(frozen=True, slots=True)
class AnonymousCredential:
    """What remains of an anonymous token: the SHA-256 of its 16 bytes."""

    digest: bytes


Credential = ApiKeyCredential | AnonymousCredential


def parse_authorization(values: Sequence[str | bytes]) -> Credential:
    """Read the `authorization` metadata; raises CredentialsMissing or -Malformed, or ApiKeyUnknown for a typo."""
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
    raise CredentialsMalformed


def parse_api_key(text: str) -> ApiKeyCredential:
    """Read a key; raises CredentialsMalformed, or ApiKeyUnknown where the form is right and the check is not."""
    if _PLAIN_KEY.match(text):
        return ApiKeyCredential(_plain_key_id(text), text)
    parts = _KEY.match(text)
    if parts is None:
        raise CredentialsMalformed
    api_key_id, secret = parts.groups()
    if secret[SECRET_CHARACTERS:] != check_of(api_key_id, secret[:SECRET_CHARACTERS]):
        raise ApiKeyUnknown
    return ApiKeyCredential(api_key_id, secret)


def new_api_key(random_below: Callable[[int], int] = secrets.randbelow) -> ApiKeyCredential:
    """A key that nobody had before. `random_below(n)` draws uniformly from 0 to n-1."""
    api_key_id = _base62(random_below(62**ID_CHARACTERS), ID_CHARACTERS)
    secret = _base62(random_below(1 << 256), SECRET_CHARACTERS)
    return ApiKeyCredential(api_key_id, secret + check_of(api_key_id, secret))


def drawn_key(text: str) -> ApiKeyCredential | None:
    """The key that somebody drew and wants to be made good; None if it is of another form or visibly not random."""
    if not _PLAIN_KEY.match(text) or len(set(text)) < MIN_DISTINCT_CHARACTERS:
        return None
    places = [ALPHABET.index(character) for character in text]
    steps = sum(abs(place - following) <= 1 for place, following in itertools.pairwise(places))
    return parse_api_key(text) if steps <= MAX_STEPS_IN_ROW else None


def _plain_key_id(text: str) -> str:
    # Of 131 random bits a digest tells nothing; it needs no pepper, which may change while the id must not.
    digest = hashlib.sha256(b"horde api key id " + text.encode()).digest()
    return _base62(int.from_bytes(digest), ID_CHARACTERS)


def check_of(api_key_id: str, secret: str) -> str:
    """The characters that end a key. They guard against typing errors, not against anybody."""
    return _base62(zlib.crc32(f"{api_key_id}_{secret}".encode()), CHECK_CHARACTERS)


def _base62(number: int, characters: int) -> str:
    digits = []
    for _ in range(characters):
        number, digit = divmod(number, 62)
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))


class Peppers:
    """The secrets under which keys' digests are made: the first is in use, the others are for keys made before."""

    def __init__(self, peppers: Sequence[bytes]) -> None:
        if not peppers or any(len(each) != PEPPER_BYTES for each in peppers):
            raise ValueError(f"a pepper is {PEPPER_BYTES} bytes, and there is at least one")
        self._by_id = {hashlib.sha256(b"pepper" + each).hexdigest()[:8]: each for each in peppers}
        self.current_id = next(iter(self._by_id))

    def digest(self, credential: ApiKeyCredential) -> bytes:
        """What is stored of a new key, under the pepper in use."""
        return self._digest(credential, self._by_id[self.current_id])

    def matches(self, credential: ApiKeyCredential, pepper_id: str, digest: bytes) -> bool:
        """Whether a key is the stored one; takes as long for a wrong one as for a right one."""
        pepper = self._by_id.get(pepper_id)
        return pepper is not None and hmac.compare_digest(self._digest(credential, pepper), digest)

    @staticmethod
    def _digest(credential: ApiKeyCredential, pepper: bytes) -> bytes:
        return hmac.digest(pepper, f"{credential.api_key_id}_{credential.secret}".encode(), hashlib.sha256)


def parse_peppers(text: str) -> Peppers:
    """Read a pepper file: one pepper a line, in hex, the one in use first."""
    return Peppers([bytes.fromhex(line) for line in text.split()])
