"""Certificates of one's own for tests: an authority that signs what a test asks for, valid or not."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from horde.services.tls import TlsFiles

HOUR = datetime.timedelta(hours=1)


@dataclass
class Authority:
    """Signs certificates into a folder, which it makes."""

    folder: Path

    def __post_init__(self) -> None:
        self.key = generate_private_key(SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, self.folder.name)])
        self.file = self.folder / "authority.pem"
        self.folder.mkdir()
        self.file.write_bytes(self._sign(self.name, self.key, (), HOUR).public_bytes(Encoding.PEM))

    def _sign(
        self, name: x509.Name, key: EllipticCurvePrivateKey, names: tuple[str, ...], left: datetime.timedelta
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 24 * HOUR)
            .not_valid_after(now + left)
            .add_extension(x509.BasicConstraints(not names, None), critical=True)
        )
        if names:
            loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
            alternatives = x509.SubjectAlternativeName([*map(x509.DNSName, names), loopback])
            builder = builder.add_extension(alternatives, critical=False)
        return builder.sign(self.key, SHA256())

    def issue(self, *names: str, left: datetime.timedelta = HOUR, file: str = "") -> TlsFiles:
        """A certificate for these names and for loopback, which ends after `left` (or ended, if that is negative)."""
        key = generate_private_key(SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])
        file = file or names[0]
        certificate, private = self.folder / f"{file}.pem", self.folder / f"{file}.key"
        certificate.write_bytes(self._sign(name, key, names, left).public_bytes(Encoding.PEM))
        private.unlink(missing_ok=True)
        private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        private.chmod(0o440)
        return TlsFiles(certificate, private, self.file)
