"""Who is calling, and who may call what.

A caller is a service of this mesh, by name. On one machine it proves its name with a key that all processes of one run
share through a file only their user can read; between machines its TLS certificate says the name. End users are not
callers in this sense: methods that anybody may call are marked PUBLIC, and the user's own credential passes through.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
import sys
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, NewType, Protocol

from horde.services.errors import PermissionDenied, Unauthenticated
from horde.services.lifecycle import CannotStart

Caller = NewType("Caller", str)
"""A service's name."""
NOBODY: Final = Caller("")
"""The caller of a public method who proved no name."""
PUBLIC: Final[AbstractSet[str]] = frozenset({"*"})
"""Marks a method that anybody may call."""

CALLER_KEY: Final = "mesh-caller"
PROOF_KEY: Final = "mesh-proof"
KEY_BYTES: Final = 32

Headers = Iterable[tuple[str, str | bytes]]
Peer = Callable[[], Mapping[str, Iterable[bytes]]]

_current: ContextVar[Caller] = ContextVar("caller", default=NOBODY)


class BadProof(Unauthenticated):
    """The caller's proof of its name is not valid."""

    domain: ClassVar[str] = "mesh"
    reason: ClassVar[str] = "BAD_PROOF"


class CallerNotAllowed(PermissionDenied):
    """This caller may not call this method."""

    domain: ClassVar[str] = "mesh"
    reason: ClassVar[str] = "CALLER_NOT_ALLOWED"


def current_caller() -> Caller:
    """Who made the call being served; NOBODY outside a call and for strangers."""
    return _current.get()


def set_current_caller(caller: Caller) -> None:
    """Say who made the call that this task serves. For the server's own use."""
    _current.set(caller)


def create_key_file(path: Path) -> None:
    """Make the key of one run, for the eyes of this user alone. Replaces an older one."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(handle, secrets.token_hex(KEY_BYTES).encode())
    finally:
        os.close(handle)
    fresh.replace(path)


class NotPrivate(CannotStart, PermissionError):
    """A secret lies where others can touch it."""


def read_private(path: Path, *, alone: bool = False) -> bytes:
    """Read a secret; refuse (NotPrivate) a file that others can touch or that is not ours.

    Its group may read it, for so Kubernetes mounts secrets; but not where it is to be ours `alone`.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        facts = os.fstat(handle)
        # Windows has no modes: there a user's own folder is for that user alone already.
        if sys.platform != "win32":
            if not stat.S_ISREG(facts.st_mode) or facts.st_mode & (0o077 if alone else 0o037):
                raise NotPrivate(f"{path} must be a file with mode 0600: others can touch this secret")
            if facts.st_uid not in (os.geteuid(), 0):
                raise NotPrivate(f"{path} belongs to another user")
        return os.read(handle, 1 << 20)
    finally:
        os.close(handle)


def read_key(path: Path) -> bytes:
    """Read the key of this run."""
    # It never leaves its machine.
    key = bytes.fromhex(read_private(path, alone=True).decode().strip())
    if len(key) != KEY_BYTES:
        raise ValueError(f"{path} is not a key file")
    return key


def prove(key: bytes, caller: str) -> str:
    """The proof that whoever speaks holds the key and calls itself this."""
    return hmac.digest(key, b"mesh caller " + caller.encode(), hashlib.sha256).hex()


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a caller sends with each call: its name and the proof."""

    caller: Caller
    headers: tuple[tuple[str, str], ...]

    @classmethod
    def from_key(cls, caller: str, key: bytes) -> Credentials:
        return cls(Caller(caller), ((CALLER_KEY, caller), (PROOF_KEY, prove(key, caller))))

    @classmethod
    def from_key_file(cls, caller: str, path: Path) -> Credentials:
        return cls.from_key(caller, read_key(path))


class Identity(Protocol):
    """A way to tell who is calling."""

    def identify(self, headers: Headers, peer: Peer) -> Caller:
        """The caller's name, NOBODY if it claims none; raises BadProof for a claim that does not hold."""


class SharedKey:
    """Callers prove themselves with the key of this run."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._proofs: dict[str, str] = {}

    @classmethod
    def from_file(cls, path: Path) -> SharedKey:
        return cls(read_key(path))

    def identify(self, headers: Headers, peer: Peer) -> Caller:
        caller = proof = ""
        for key, value in headers:
            if key == CALLER_KEY:
                caller = str(value)
            elif key == PROOF_KEY:
                proof = str(value)
        if not caller:
            return NOBODY
        expected = self._proofs.get(caller) or prove(self._key, caller)
        if not hmac.compare_digest(expected.encode(), proof.encode()):
            raise BadProof
        if len(self._proofs) < 64:
            self._proofs[caller] = expected
        return Caller(caller)


class PeerCertificate:
    """Callers prove themselves with a TLS certificate: the name is what stands before `suffix` in one of its SANs.

    With the suffix `.mesh.example`, the SAN `scheduler.mesh.example` is the caller `scheduler`.
    """

    def __init__(self, suffix: str) -> None:
        if not suffix.startswith((".", "/")):
            raise ValueError("the suffix begins with the dot (or slash) that ends the name")
        self._suffix = suffix

    def identify(self, headers: Headers, peer: Peer) -> Caller:
        for name in peer().get("x509_subject_alternative_name", ()):
            before, found, after = name.decode("utf-8", "replace").partition(self._suffix)
            if found and not after and before.replace("-", "").isalnum():
                return Caller(before)
        return NOBODY


class AllowList:
    """Who may call which method; what is not listed nobody may call.

    Rules map `/package.Service/Method`, or `/package.Service/*`, to names of callers or to PUBLIC. The exact
    method wins.
    """

    def __init__(self, rules: Mapping[str, Iterable[str]]) -> None:
        self._rules = {method: frozenset(callers) for method, callers in rules.items()}
        for method in self._rules:
            if not method.startswith("/") or method.count("/") != 2:
                raise ValueError(f"{method!r} is neither /package.Service/Method nor /package.Service/*")

    def opened(self, *services: str) -> AllowList:
        """The same, and anybody may call any method of these services."""
        return AllowList({**self._rules, **{f"/{service}/*": PUBLIC for service in services}})

    def allowed(self, method: str) -> AbstractSet[str]:
        """Who may call this method."""
        service = method.rpartition("/")[0]
        return self._rules.get(method) or self._rules.get(f"{service}/*") or frozenset()

    def methods(self) -> AbstractSet[str]:
        """What the rules name, to be compared with what is served."""
        return self._rules.keys()
