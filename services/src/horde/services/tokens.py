"""Short-lived signed tokens: Ed25519 signatures in the form of JWTs.

Whoever signs keeps a private key in a file and publishes the public one in a folder; whoever verifies loads the whole
folder. So a new key is first published, then used, and the old one stays until its last token has expired. What time it
is, is told, never asked.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Protocol

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from jwt.algorithms import OKPAlgorithm

from horde.services.errors import PermissionDenied, ServiceError, Unauthenticated
from horde.services.identity import read_private
from horde.services.sealing import seal, unseal
from horde.services.telemetry import get_logger

log = get_logger(__name__)

ALGORITHM = "EdDSA"
MAX_HEADER = 512
"""Characters of a token's header; ours take 80."""
LOOK_AGAIN_SECONDS = 60.0
_OPTIONS: Any = {
    "require": ["iss", "aud", "iat", "exp"],
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
    "verify_aud": False,
    "verify_iss": False,
}


class TokenError(ServiceError):
    """The token is not valid."""

    domain: ClassVar[str] = "mesh"


class TokenMalformed(TokenError, Unauthenticated):
    """This is not a token."""

    reason: ClassVar[str] = "TOKEN_MALFORMED"


class TokenForged(TokenError, Unauthenticated):
    """No known key signed this token."""

    reason: ClassVar[str] = "TOKEN_FORGED"


class TokenExpired(TokenError, Unauthenticated):
    """The token's time is over."""

    reason: ClassVar[str] = "TOKEN_EXPIRED"


class TokenWrongAudience(TokenError, PermissionDenied):
    """The token is good, but for something else: another service, or another act."""

    reason: ClassVar[str] = "TOKEN_WRONG_AUDIENCE"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that one issuer signs with, and until when its tokens are believed."""

    key: Ed25519PublicKey
    issuer: str
    not_after: datetime | None = None


class Keys(Protocol):
    """Where a verifier finds keys."""

    def get(self, key_id: str) -> PublicKey | None:
        """The key of this id, if it is known."""

    def items(self) -> Iterable[tuple[str, PublicKey]]:
        """All that are known, by id."""


class Signer:
    """Signs tokens as one issuer with one key."""

    def __init__(self, key_id: str, private_key: Ed25519PrivateKey, issuer: str) -> None:
        self.key_id = key_id
        self.issuer = issuer
        self._key = private_key

    def sign(self, audience: str, claims: Mapping[str, Any], lifetime: timedelta, now: datetime) -> str:
        """A token that says `claims` to `audience` until `lifetime` from `now`."""
        issued = int(now.timestamp())
        payload = {
            **claims,
            "iss": self.issuer,
            "aud": audience,
            "iat": issued,
            "exp": issued + int(lifetime.total_seconds()),
        }
        return jwt.encode(payload, self._key, algorithm=ALGORITHM, headers={"kid": self.key_id})

    def unseal(self, sealed: Mapping[str, Any], about: bytes) -> bytes:
        """What `Verifier.seal` sealed for this issuer; raises ValueError where nothing was for this key."""
        return unseal(str(sealed.get(self.key_id, "")), self._key, about)

    def public_key(self) -> PublicKey:
        """What others verify with."""
        return PublicKey(self._key.public_key(), self.issuer)

    @classmethod
    def from_file(cls, path: Path, issuer: str, publish: Path | None = None) -> Signer:
        """Load the private key, making it at first use (mode 0600); put its public half into `publish` if given."""
        if not path.exists():
            key = Ed25519PrivateKey.generate()
            pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            _write(path, pem, 0o600)
        loaded = load_pem_private_key(read_private(path), None)
        if not isinstance(loaded, Ed25519PrivateKey):
            raise ValueError(f"{path} is not an Ed25519 key")
        signer = cls(key_id_of(loaded.public_key()), loaded, issuer)
        if publish is not None:
            publish_key(publish, signer.key_id, signer.public_key())
        return signer


class Verifier:
    """Tells good tokens from bad ones."""

    def __init__(self, keys: Keys | Mapping[str, PublicKey]) -> None:
        self._keys: Keys | Mapping[str, PublicKey] = keys

    def seal(self, words: bytes, reader: str, about: bytes, now: datetime) -> dict[str, str]:
        """Words for one issuer alone, under each key that it may have, by its id; empty where none is known."""
        return {
            key_id: seal(words, public.key, about)
            for key_id, public in self._keys.items()
            if public.issuer == reader and (public.not_after is None or now < public.not_after)
        }

    def verify(
        self,
        token: str,
        audience: str,
        issuers: str | Collection[str],
        now: datetime,
        leeway: timedelta = timedelta(0),
        seen: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> dict[str, Any]:
        """What the token says, if one of `issuers` said it to `audience` and its time is not over.

        `seen` gets what a good token says before its time is looked at: to compare clocks, and for nothing else.

        Raises a TokenError that says what is wrong with it.
        """
        key_id = _key_id(token.partition(".")[0])
        public: PublicKey | None = self._keys.get(key_id)
        if public is None or (public.not_after is not None and now >= public.not_after):
            raise TokenForged
        try:
            claims: dict[str, Any] = jwt.decode(token, public.key, algorithms=[ALGORITHM], options=_OPTIONS)
        except jwt.InvalidSignatureError:
            raise TokenForged from None
        except jwt.PyJWTError:
            raise TokenMalformed from None
        allowed = (issuers,) if isinstance(issuers, str) else issuers
        if claims["iss"] != public.issuer:
            raise TokenForged("The key is not that of the issuer that it names.")
        if claims["aud"] != audience or public.issuer not in allowed:
            raise TokenWrongAudience
        expires = claims["exp"]
        if not isinstance(expires, int):
            raise TokenMalformed
        if seen is not None:
            seen(claims)
        if now.timestamp() >= expires + leeway.total_seconds():
            raise TokenExpired
        return claims


class KeyRing:
    """Every key in a folder of published keys; looked up again, now and then, when an unknown one is asked for."""

    def __init__(self, folder: Path, monotonic: Callable[[], float], pause_seconds: float = 5.0) -> None:
        self._folder = folder
        self._monotonic = monotonic
        self._pause = pause_seconds
        self._looked = float("-inf")
        self._keys: dict[str, PublicKey] = {}
        self._unreadable: frozenset[Path] = frozenset()

    def get(self, key_id: str) -> PublicKey | None:
        known = self._keys.get(key_id)
        if known is None and self._monotonic() - self._looked >= self._pause:
            self.load()
            known = self._keys.get(key_id)
        return known

    def items(self) -> Iterable[tuple[str, PublicKey]]:
        """All keys; looked up again once a minute, for nobody asks for a new one by its id before it is used."""
        if self._monotonic() - self._looked >= LOOK_AGAIN_SECONDS:
            self.load()
        return self._keys.items()

    def load(self) -> None:
        """Look at the folder now. A file that cannot be read as a key is passed over: a key that was known stays."""
        self._looked = self._monotonic()
        keys, unreadable = {}, set()
        for path in sorted(self._folder.glob("*.json")):
            try:
                keys[path.stem] = _read_public(path)
            except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, jwt.PyJWTError) as error:
                # An operator copies into this folder while all run: what is half there is whole in a moment.
                unreadable.add(path)
                if path.stem in self._keys:
                    keys[path.stem] = self._keys[path.stem]
                if path not in self._unreadable:
                    log.error("a file in the folder of public keys is none", path=str(path), error=repr(error))
        self._keys, self._unreadable = keys, frozenset(unreadable)


def publish_key(folder: Path, key_id: str, public: PublicKey, not_after: datetime | None = None) -> None:
    """Put a public key into the folder, as a JWK of its own, believed until `not_after`.

    Where it stands there already and no end is given, nothing is written: the folder may be a read-only one that an
    operator has filled.
    """
    jwk: dict[str, Any] = OKPAlgorithm.to_jwk(public.key, as_dict=True)
    jwk |= {"kid": key_id, "use": "sig", "alg": ALGORITHM, "iss": public.issuer}
    ends = not_after or public.not_after
    if ends is not None:
        jwk["exp"] = int(ends.timestamp())
    path = folder / f"{key_id}.json"
    content = json.dumps(jwk, indent=1, sort_keys=True).encode()
    if not_after is None and path.exists() and json.loads(path.read_bytes()) | {"exp": 0} == jwk | {"exp": 0}:
        return
    folder.mkdir(parents=True, exist_ok=True)
    _write(path, content, 0o644)


def key_id_of(key: Ed25519PublicKey) -> str:
    """An id that follows from the key: 16 hexadecimal digits of its digest."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


@lru_cache(256)
def _parsed_key_id(header: str) -> str:
    try:
        key_id = jwt.get_unverified_header(f"{header}..").get("kid")
    except jwt.PyJWTError:
        raise TokenMalformed from None
    if not isinstance(key_id, str):
        raise TokenMalformed
    return key_id


def _key_id(header: str) -> str:
    """The key that a token's first part names. It is the same part for all tokens of a key, so it is remembered."""
    if len(header) > MAX_HEADER:
        raise TokenMalformed
    return _parsed_key_id(header)


def _read_public(path: Path) -> PublicKey:
    jwk = json.loads(path.read_bytes())
    key = OKPAlgorithm.from_jwk(jwk)
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError(f"{path} is not a public Ed25519 key")
    ends = datetime.fromtimestamp(jwk["exp"], UTC) if "exp" in jwk else None
    return PublicKey(key, jwk["iss"], ends)


def _write(path: Path, content: bytes, mode: int) -> None:
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        os.write(handle, content)
    finally:
        os.close(handle)
    fresh.replace(path)
