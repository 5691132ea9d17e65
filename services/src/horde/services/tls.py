"""Certificates by file, and when a wire may go without."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

import grpc

from horde.services.identity import read_private


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: our certificate and its key, and whose certificates we believe."""

    certificate: Path | None = None
    key: Path | None = None
    authorities: Path | None = None

    def server_credentials(self, *, require_client: bool) -> grpc.ServerCredentials:
        """What a server shows; with `require_client`, callers must show a certificate too."""
        if self.certificate is None or self.key is None:
            raise ValueError("a TLS server needs a certificate and a key")
        pair = (read_private(self.key, group=True), self.certificate.read_bytes())
        authorities = self.authorities.read_bytes() if self.authorities else None
        return grpc.ssl_server_credentials([pair], authorities, require_client)

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """What a caller shows, and whom it believes; without `authorities` those that the system believes."""
        return grpc.ssl_channel_credentials(
            self.authorities.read_bytes() if self.authorities else None,
            read_private(self.key, group=True) if self.key else None,
            self.certificate.read_bytes() if self.certificate else None,
        )


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
