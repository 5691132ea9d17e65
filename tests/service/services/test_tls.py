"""Between machines: who shows no certificate of ours, or another name, does not get in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from horde.services.channel import dial
from horde.services.errors import PermissionDenied, Unavailable
from horde.services.identity import AllowList, PeerCertificate
from horde.services.lifecycle import CannotStart
from horde.services.server import Listener, serving
from horde.services.tls import TlsFiles
from horde.testkit.certificates import Authority
from horde.testkit.waiting import HANG_SECONDS

ECHO = "test.echo.v1.EchoService"


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
    with pytest.raises(CannotStart, match="others can touch this secret"):
        async with serving(Listener("127.0.0.1:0", tls=files), [echo], name="x", allow=AllowList({}), identity=None):
            pass
