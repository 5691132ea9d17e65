"""What a certificate says, whether it holds, and why TLS with a neighbour fails: in words for operators."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from horde.services.tls import TlsFiles

EXPLAIN_SECONDS: Final = 5.0
"""How long a neighbour may take to show why it does not speak with us."""
WORDS: Final = (
    ("certificate has expired", "its certificate has expired"),
    ("certificate is not yet valid", "its certificate is not valid yet: is a clock wrong?"),
    ("local issuer certificate", "its certificate is of an authority that we do not believe"),
    ("self-signed certificate", "its certificate is of an authority that we do not believe"),
    ("self signed certificate", "its certificate is of an authority that we do not believe"),
    ("hostname mismatch", "its certificate does not name this address"),
    ("ip address mismatch", "its certificate does not name this address"),
    ("alert certificate expired", "it refuses our certificate, which has expired"),
    ("alert certificate required", "it wants a certificate, and we show none"),
    ("alert unknown ca", "it refuses our certificate, which is of an authority that it does not believe"),
    ("alert bad certificate", "it refuses our certificate"),
    ("alert", "it refuses our certificate, or our way to speak TLS"),
    ("wrong version number", "it does not speak TLS"),
    ("record layer failure", "it does not speak TLS"),
    ("did_not_return_a_certificate", "it shows no certificate"),
    ("http_request", "it does not speak TLS"),
)
"""What the libraries say, by a part of it, first match first; and what that means."""


class BadCertificate(Exception):
    """A certificate that nobody will believe; the message says which file, and why."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What counts of a certificate."""

    names: tuple[str, ...]
    """Its alternative names."""
    not_after: datetime


def meaning(text: str) -> str:
    """What a library's words about TLS mean; the words themselves where that is not known."""
    lower = text.lower()
    return next((words for part, words in WORDS if part in lower), text)


def examine(certificate: Path, key: Path, authorities: Path | None) -> Certificate:
    """Read our certificate as a neighbour will: by a handshake in memory. Raises BadCertificate.

    Without `authorities` nobody's signature is asked for, only that the key fits and that it is valid now.
    """
    shows, believes = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    believes.check_hostname = False
    try:
        shows.load_cert_chain(certificate, key, password=lambda: "")
    except (OSError, ssl.SSLError) as error:
        raise BadCertificate(f"{certificate} with {key}: no certificate and its key ({_reason(error)})") from None
    try:
        believes.load_verify_locations(authorities or certificate)
    except (OSError, ssl.SSLError) as error:
        raise BadCertificate(f"{authorities}: no certificates of authorities ({_reason(error)})") from None
    if authorities is None:
        believes.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        peer = _handshake(shows, believes)
    except ssl.SSLError as error:
        seen_by = f"to whoever believes {authorities}" if authorities else "to anybody"
        raise BadCertificate(f"{certificate}, {seen_by}: {meaning(str(error))}") from None
    names = tuple(name for _, name in peer.get("subjectAltName", ()))
    return Certificate(names, datetime.fromtimestamp(ssl.cert_time_to_seconds(str(peer["notAfter"])), UTC))


def _handshake(shows: ssl.SSLContext, believes: ssl.SSLContext) -> dict[str, Any]:
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = believes.wrap_bio(back, there)
    server = shows.wrap_bio(there, back, server_side=True)
    left = {client, server}
    for side in cycle((client, server)):
        if side in left:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            left.discard(side)
        if not left:
            break
    return dict(client.getpeercert() or {})


async def explain(target: str, files: TlsFiles) -> str:
    """Why TLS with this HOST:PORT does not come about: one handshake more, by a library that tells. Empty: it does."""
    host, _, port = target.removeprefix("dns:///").rpartition(":")
    host = host.strip("[]")
    try:
        context = ssl.create_default_context(cafile=files.authorities)
        context.set_alpn_protocols(["h2"])
        if files.certificate is not None:
            context.load_cert_chain(files.certificate, files.key, password=lambda: "")
        async with asyncio.timeout(EXPLAIN_SECONDS):
            reader, writer = await asyncio.open_connection(host, int(port), ssl=context, server_hostname=host)
            try:
                # Whoever refuses our certificate says so after its own part of the handshake.
                return "" if await reader.read(1) else _why_refused(files)
            finally:
                writer.transport.abort()
    except ssl.SSLError as error:
        return meaning(str(error))
    except (OSError, ValueError) as error:
        return _reason(error)


def _why_refused(files: TlsFiles) -> str:
    """Why somebody hangs up on us without a word, as gRPC's servers do: by what we show."""
    if files.certificate is None or files.key is None:
        return "it hangs up: it wants a certificate, and we show none"
    try:
        examine(files.certificate, files.key, files.authorities)
    except BadCertificate as error:
        return f"it refuses our certificate: {error}"
    return "it refuses our certificate, which we believe: its authorities are not ours"


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", "") or error or type(error).__name__)


def lacking(names: Sequence[str], wanted: str) -> str:
    """One line where a certificate does not name what it must; empty where it does."""
    if wanted in names:
        return ""
    return f"names {', '.join(names) or 'nobody'}, and must name {wanted}, by which the others know this service"
