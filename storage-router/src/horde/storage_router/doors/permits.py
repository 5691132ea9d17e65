"""What tokens permit: tickets of the gateway, grants of the scheduler; and the receipts that the router signs.

A token is checked once, when the call opens. The claims are documented at the head of `storage_service.proto`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from horde.services.clock import Clock
from horde.services.clock_watch import ClockWatch
from horde.services.tokens import Signer, TokenMalformed, TokenWrongAudience, Verifier
from horde.storage_router.core import keys
from horde.storage_router.core.keys import is_name
from horde.storage_router.core.placement import Placement, PlacementFacts
from horde.storage_router.core.records import Content

ISSUER = "storage-router"
AUDIENCE = "storage-router"
GATEWAY = "gateway"
SCHEDULER = "scheduler"
CURATION = "curation"
CURATIONS = ("get_shared", "get_release_file")
"""Acts that the curation service alone permits."""
PUT_INPUT = "put_input"
LEEWAY = timedelta(minutes=1)
"""How much longer than it says a token is taken: its maker's clock is another machine's."""
RECEIPT_LIFETIME = timedelta(days=8)
"""Longer than an object stays in quarantine."""


@dataclass(frozen=True, slots=True)
class UploadGrant:
    """The holder of a lease may upload one image."""

    job_id: str
    lease_id: str
    generation_id: str
    worker_id: str
    owner: str
    width: int
    height: int
    max_bytes: int
    placement: Placement
    facts: PlacementFacts


@dataclass(frozen=True, slots=True)
class PutInputTicket:
    """A requester may store one input."""

    input_id: str
    requester: str
    max_bytes: int


@dataclass(frozen=True, slots=True)
class GetInputTicket:
    """Whoever has it may read one input."""

    input_id: str
    sha256: str
    whose: str
    """The part of its key: a digest, for a worker can read its ticket."""


@dataclass(frozen=True, slots=True)
class GetImageTicket:
    """A requester may read one image."""

    job_id: str
    object_name: str
    placement: Placement
    sha256: str
    requester: str


@dataclass(frozen=True, slots=True)
class GetSharedTicket:
    """Somebody who is no requester may read a shared image: to rate it, or to decide about it."""

    job_id: str
    sha256: str
    reviewing: bool
    """Also while moderation withholds it."""


@dataclass(frozen=True, slots=True)
class GetReleaseFileTicket:
    """Somebody may read a file of a finished data release, which never changes."""

    key: str
    """In the bucket of releases."""
    size_bytes: int
    sha256: str
    """Empty: not known."""


class Permits:
    """Tells what a token permits. Raises the token errors."""

    def __init__(self, verifier: Verifier, reader: Signer, clock: Clock) -> None:
        """`reader` has the key for which schedulers seal."""
        self._verifier = verifier
        self._reader = reader
        self._now = clock.now
        self._clocks = ClockWatch(clock.monotonic)

    def upload(self, token: str) -> UploadGrant:
        claims = self._verify(token, (SCHEDULER,), ("upload_image",))
        facts = claims.nested("facts")
        return UploadGrant(
            claims.name("job_id"),
            claims.name("lease_id"),
            claims.name("generation_id"),
            claims.text("worker_id"),
            claims.text("owner"),
            claims.number("width"),
            claims.number("height"),
            claims.number("max_bytes"),
            claims.placement(),
            PlacementFacts(
                facts.truth("anonymous"),
                facts.truth("asked"),
                facts.truth("has_input"),
                facts.text("consent_text_version"),
            ),
        )

    def put_input(self, token: str) -> PutInputTicket:
        claims = self._verify(token, (GATEWAY,), (PUT_INPUT,))
        return PutInputTicket(claims.name("input_id"), claims.text("requester"), claims.number("max_bytes"))

    def download(self, token: str) -> GetInputTicket | GetImageTicket | GetSharedTicket | GetReleaseFileTicket:
        acts = ("get_image", "get_input", *CURATIONS)
        claims = self._verify(token, (GATEWAY, SCHEDULER, CURATION), acts)
        act, issuer = claims.text("act"), claims.text("iss")
        if (act in CURATIONS) != (issuer == CURATION):
            raise TokenWrongAudience(metadata={"expected": f"a ticket of {CURATION} for what is shared, and no other"})
        if act == "get_shared":
            return GetSharedTicket(claims.name("job_id"), claims.digest(), claims.truth("reviewing"))
        if act == "get_release_file":
            return GetReleaseFileTicket(claims.text("key"), claims.number("size_bytes"), claims.text("file_sha256"))
        if act == "get_input":
            return GetInputTicket(claims.name("input_id"), claims.digest(), self._whose(claims))
        if issuer != GATEWAY:
            raise TokenWrongAudience(metadata={"expected": f"a ticket of the {GATEWAY}"})
        return GetImageTicket(
            claims.name("job_id"),
            claims.name("object_name"),
            claims.placement(),
            claims.digest(),
            claims.text("requester"),
        )

    def _whose(self, claims: _Claims) -> str:
        if not claims.has("whose"):  # As schedulers of before say it.
            return keys.whose(claims.text("requester"))
        about = f"{claims.text('lease_id')} {claims.name('input_id')}".encode()
        return claims.name_for("whose", self._reader, about)

    def _verify(self, token: str, issuers: tuple[str, ...], acts: tuple[str, ...]) -> _Claims:
        if not token:
            raise TokenMalformed
        claims = _Claims(self._verifier.verify(token, AUDIENCE, issuers, self._now(), LEEWAY, self._compare_clocks))
        if claims.text("act") not in acts:
            raise TokenWrongAudience(metadata={"expected": " or ".join(acts)})
        return claims

    def _compare_clocks(self, claims: Mapping[str, Any]) -> None:
        # Tickets for inputs are used at once; grants and tickets for images may be old and good.
        if isinstance(issued := claims["iat"], int):
            self._clocks.compare(claims["iss"], issued, self._now(), fresh=claims.get("act") == PUT_INPUT)


class Receipts:
    """Signs that a lease's bytes arrived and passed."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    def sign(self, grant: UploadGrant, content: Content, completed_at: datetime) -> str:
        """The same for the same upload, however often it is asked for."""
        claims = {
            "act": "receipt",
            "job_id": grant.job_id,
            "lease_id": grant.lease_id,
            "worker_id": grant.worker_id,
            "owner": grant.owner,
            "sha256": content.sha256,
            "size_bytes": content.size_bytes,
            "format": content.format.name,
            "width": content.width,
            "height": content.height,
        }
        return self._signer.sign(SCHEDULER, claims, RECEIPT_LIFETIME, completed_at)


class _Claims:
    """Claims by name and kind; one that is missing or of another kind makes the token malformed."""

    def __init__(self, claims: Mapping[str, Any]) -> None:
        self._claims = claims

    def has(self, name: str) -> bool:
        return name in self._claims

    def text(self, name: str) -> str:
        value = self._claims.get(name)
        if not isinstance(value, str):
            raise TokenMalformed(f"The claim {name} is missing or is not a text.")
        return value

    def name(self, name: str) -> str:
        value = self.text(name)
        if not is_name(value):
            raise TokenMalformed(f"The claim {name} is not an id.")
        return value

    def name_for(self, name: str, reader: Signer, about: bytes) -> str:
        """A name that is sealed for this reader, or stands there plainly, as schedulers of before say it."""
        value = self._claims.get(name)
        if not isinstance(value, Mapping):
            return self.name(name)
        try:
            found = reader.unseal(value, about).decode()
        except ValueError:
            raise TokenMalformed(f"The claim {name} was sealed for another key.") from None
        if not is_name(found):
            raise TokenMalformed(f"The claim {name} is not an id.")
        return found

    def number(self, name: str) -> int:
        value = self._claims.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise TokenMalformed(f"The claim {name} is missing or is not a positive number.")
        return value

    def truth(self, name: str) -> bool:
        value = self._claims.get(name)
        if not isinstance(value, bool):
            raise TokenMalformed(f"The claim {name} is missing or is neither true nor false.")
        return value

    def digest(self) -> str:
        value = self.text("sha256")
        if len(value) != 64 or not set(value) <= set("0123456789abcdef"):
            raise TokenMalformed("The claim sha256 is not a digest.")
        return value

    def placement(self) -> Placement:
        value = self.text("placement")
        if value not in Placement.__members__:
            raise TokenMalformed("The claim placement is not one.")
        return Placement(value)

    def nested(self, name: str) -> _Claims:
        value = self._claims.get(name)
        if not isinstance(value, dict):
            raise TokenMalformed(f"The claim {name} is missing.")
        return _Claims(value)
