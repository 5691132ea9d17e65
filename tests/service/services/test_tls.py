"""Between machines: who shows no certificate of ours, or another name, does not get in."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from google.protobuf.wrappers_pb2 import StringValue

from horde.services.channel import dial
from horde.services.errors import PermissionDenied, Unavailable
from horde.services.identity import AllowList, PeerCertificate
from horde.services.server import Listener, serving
from horde.services.tls import TlsFiles
from horde.testkit.waiting import HANG_SECONDS

ECHO = "test.echo.v1.EchoService"


@dataclass
class Authority:
    """Signs certificates into a folder."""

    folder: Path

    def __post_init__(self) -> None:
        self.key = generate_private_key(SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, self.folder.name)])
        self.file = self.folder / "authority.pem"
        self.folder.mkdir()
        self.file.write_bytes(self._sign(self.name, self.key, None).public_bytes(Encoding.PEM))

    def _sign(self, name: x509.Name, key: EllipticCurvePrivateKey, alternative: str | None) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(alternative is None, None), critical=True)
        )
        if alternative is not None:
            loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
            names = x509.SubjectAlternativeName([x509.DNSName(alternative), loopback])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self.key, SHA256())

    def issue(self, alternative: str) -> TlsFiles:
        key = generate_private_key(SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, alternative)])
        certificate, private = self.folder / f"{alternative}.pem", self.folder / f"{alternative}.key"
        certificate.write_bytes(self._sign(name, key, alternative).public_bytes(Encoding.PEM))
        private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        private.chmod(0o440)
        return TlsFiles(certificate, private, self.file)


async def test_a_certificate_is_a_name_and_none_is_no_entry(
    tmp_path: Path, servicer: Any, echo: Any, stub: Any
) -> None:
    ours, theirs = Authority(tmp_path / "ours"), Authority(tmp_path / "theirs")
    async with serving(
        Listener("127.0.0.1:0", tls=ours.issue("library.mesh.example")),
        [echo],
        name="library",
        allow=AllowList({f"/{ECHO}/*": {"reader"}}),
        identity=PeerCertificate(".mesh.example"),
    ) as server:
        target = f"127.0.0.1:{server.port}"

        async def say(files: TlsFiles) -> None:
            async with dial(target, caller=None, tls=files, retry=False) as channel:
                await stub(channel).Say(StringValue(value="x"), timeout=HANG_SECONDS)

        await say(ours.issue("reader.mesh.example"))
        assert servicer.callers == ["reader"]
        with pytest.raises(PermissionDenied):
            await say(ours.issue("writer.mesh.example"))
        with pytest.raises(Unavailable):
            await say(TlsFiles(authorities=ours.file))
        stranger = theirs.issue("reader.mesh.example")
        with pytest.raises(Unavailable):
            await say(TlsFiles(stranger.certificate, stranger.key, ours.file))
        with pytest.raises(Unavailable):
            async with dial(target, caller=None, retry=False) as channel:
                await stub(channel).Say(StringValue(value="plaintext"), timeout=HANG_SECONDS)
    assert servicer.callers == ["reader"]


async def test_a_private_key_that_others_can_read_stops_the_start(tmp_path: Path, echo: Any) -> None:
    files = Authority(tmp_path / "ours").issue("library.mesh.example")
    assert files.key is not None
    files.key.chmod(0o444)
    with pytest.raises(PermissionError):
        async with serving(Listener("127.0.0.1:0", tls=files), [echo], name="x", allow=AllowList({}), identity=None):
            pass
