"""Who calls: what an HTTP request says of that, as the metadata of the calls that are made for it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from starlette.requests import Request

from horde.services.addresses import FORWARDED_KEY, Networks, forwarded_peer, is_proxy

Metadata = tuple[tuple[str, str], ...]
MAX_KEY_CHARACTERS = 128
MAX_CREDENTIAL_CHARACTERS = 256
ANONYMOUS_KEY = "0000000000"
"""AI Horde's key of everybody who has none."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, and from where."""

    address: str
    """The IP address, or nothing."""
    key: str = field(default="", repr=False)
    """The API key that was shown; empty: none."""

    @property
    def anonymous(self) -> bool:
        return not self.key

    def whereabouts(self) -> Metadata:
        """Where the call comes from, for what asks for no credentials but a ticket."""
        return ((FORWARDED_KEY, self.address),) if self.address else ()

    def metadata(self, authorization: str = "") -> Metadata:
        """For whom the call is made, and with which credentials; `authorization` instead of the caller's own."""
        shown = authorization or (f"Bearer {self.key}" if self.key else "")
        return (("authorization", shown), *self.whereabouts()) if shown else self.whereabouts()


def caller_of(request: Request, proxies: Networks) -> Caller:
    """Who sent this request. The key stands in `apikey`, or in `authorization` as a bearer's."""
    key = request.headers.get("apikey", "").strip()
    if not key:
        scheme, _, rest = request.headers.get("authorization", "").partition(" ")
        key = rest.strip() if scheme.lower() == "bearer" else ""
    if not (key.isascii() and key.isprintable() and len(key) <= MAX_KEY_CHARACTERS):
        # What no key can be is looked up by nobody, and is no metadata.
        key = "?"
    return Caller(address_of(request, proxies), "" if key == ANONYMOUS_KEY else key)


def metadata_of(request: Request, proxies: Networks) -> Metadata:
    """A request's `authorization` as it stands, for the mesh to judge, and where the request comes from."""
    shown = request.headers.get("authorization", "").strip()
    if not (shown.isascii() and shown.isprintable() and len(shown) <= MAX_CREDENTIAL_CHARACTERS):
        # What no credential can be is no metadata either.
        shown = "?"
    where = Caller(address_of(request, proxies))
    return where.metadata(shown)


def address_of(request: Request, proxies: Networks) -> str:
    """Where it was sent from: the peer's address, or what a proxy that is believed says."""
    peer = forwarded_peer(_peer(request), request.headers.getlist("x-forwarded-for"), proxies)
    return peer.partition(":")[2].rpartition(":")[0].strip("[]")


def base_url(request: Request, public_url: str, proxies: Networks) -> str:
    """What clients put before a path of this door: as it is set, or as this one called it."""
    if public_url:
        return public_url.rstrip("/")
    scheme = request.url.scheme
    if is_proxy(_peer(request), proxies):
        scheme = "https" if request.headers.get("x-forwarded-proto") == "https" else scheme
    return f"{scheme}://{request.headers.get('host', request.url.netloc)}"


def new_anonymous() -> str:
    """The authorization of somebody whom nobody knows and who will not come again."""
    return f"Anonymous {secrets.token_hex(16)}"


def _peer(request: Request) -> str:
    host = request.client.host if request.client is not None else ""
    return f"ipv6:[{host}]:0" if ":" in host else f"ipv4:{host}:0"
