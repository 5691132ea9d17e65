"""Certificates by file, read anew when they change, and when a wire may go without."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc

from horde.services import telemetry
from horde.services.certificates import BadCertificate, examine
from horde.services.identity import read_private

log = telemetry.get_logger(__name__)

LOOK_SECONDS: Final = 5.0
"""How often files are looked at for a change, at most."""

Stamp = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: our certificate and its key, and whose certificates we believe."""

    certificate: Path | None = None
    key: Path | None = None
    authorities: Path | None = None

    def server_credentials(self, *, require_client: bool) -> grpc.ServerCredentials:
        """What a server shows; with `require_client`, callers must show a certificate too.

        Files that change are read again at the next caller. Raises BadCertificate, and NotPrivate for a key that
        others can read.
        """
        if self.certificate is None or self.key is None:
            raise ValueError("a TLS server needs a certificate and a key")
        shown = _Shown(self)
        first = shown.read()
        # Its types forget that None is an answer.
        changed: Any = shown.changed
        return grpc.dynamic_ssl_server_credentials(first, changed, require_client)

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """What a caller shows, and whom it believes; without `authorities` those that the system believes."""
        return grpc.ssl_channel_credentials(
            self.authorities.read_bytes() if self.authorities else None,
            read_private(self.key) if self.key else None,
            self.certificate.read_bytes() if self.certificate else None,
        )

    def stamp(self) -> Stamp:
        """When each was written last: another stamp, other files."""
        files = (self.certificate, self.key, self.authorities)
        return tuple(path.stat().st_mtime_ns for path in files if path is not None)


class Changes:
    """Tells when files have changed, looking seldom. For any thread."""

    def __init__(self, files: TlsFiles, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._files = files
        self._monotonic = monotonic
        self._stamp = files.stamp()
        self._looked = monotonic()
        self._lock = threading.Lock()

    def seen(self) -> bool:
        """Whether they are others than when this was last asked, or made."""
        with self._lock:
            now = self._monotonic()
            if now - self._looked < LOOK_SECONDS:
                return False
            self._looked = now
            try:
                stamp = self._files.stamp()
            except OSError as error:
                log.warning("certificates cannot be read", why=str(error))
                return False
            changed, self._stamp = stamp != self._stamp, stamp
            return changed


class _Shown:
    """What a server shows, as the files have it now."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._changes = Changes(files)

    def read(self) -> grpc.ServerCertificateConfiguration:
        files = self._files
        assert files.certificate is not None
        assert files.key is not None
        pair = (read_private(files.key), files.certificate.read_bytes())
        facts = examine(files.certificate, files.key, None)
        log.info("certificate", names=list(facts.names), until=facts.not_after.isoformat())
        authorities = files.authorities.read_bytes() if files.authorities else None
        return grpc.ssl_server_certificate_configuration([pair], authorities)

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        """gRPC asks this before each handshake, in a thread of its own; None: as before."""
        if not self._changes.seen():
            return None
        try:
            return self.read()
        except (OSError, BadCertificate) as error:
            # Half of a change: what was shown before is shown on, and the files are looked at again.
            log.error("the new certificate is not taken", why=str(error))
            return None


@dataclass(frozen=True, slots=True)
class Listener:
    """An address to listen on. Without `tls` it must be on loopback, unless `plaintext` says that this is meant."""

    address: str
    tls: TlsFiles | None = None
    require_client: bool = True
    plaintext: bool = False


def is_loopback(target: str) -> bool:
    """Whether an address never leaves this machine."""
    if target.startswith(("unix:", "unix-abstract:")):
        return True
    host = target.removeprefix("dns:///").removeprefix("ipv4:").removeprefix("ipv6:").rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
