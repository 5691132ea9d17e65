"""The kit for tests of the curation service: one at the end of a short wire, and a shared bucket that a mesh fills."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from grpc import aio

from horde.api.account.v1 import account_service_pb2 as account_pb2
from horde.api.job.v1 import job_pb2
from horde.api.moderation.v1.moderation_service_pb2_grpc import ModerationServiceStub
from horde.api.rating.v1.rating_service_pb2_grpc import RatingServiceStub
from horde.api.release.v1.data_release_service_pb2_grpc import DataReleaseServiceStub
from horde.curation.doors.visitors import HEADER
from horde.curation.service import serve
from horde.curation.settings import CurationSettings
from horde.internal.curation.v1 import visitor_pb2
from horde.services.channel import dial
from horde.services.clock import Clock
from horde.services.identity import Credentials, create_key_file
from horde.testkit.data_releases import START, Moment, Sharing, plain_folder
from horde.testkit.loopback import ManualClock
from horde.testkit.waiting import HANG

MODERATOR: Final = account_pb2.ACCOUNT_ROLE_MODERATOR
OPERATOR: Final = account_pb2.ACCOUNT_ROLE_OPERATOR


def visitor(
    account_id: str = "anna", *, roles: Sequence[account_pb2.AccountRole.ValueType] = (), network: bytes = b"n1"
) -> list[tuple[str, bytes]]:
    """What the gateway says beside a call for somebody."""
    requester = job_pb2.Requester(account_id=account_id)
    visiting = visitor_pb2.Visitor(requester=requester, roles=roles, network_digest=network)
    return [(HEADER, visiting.SerializeToString())]


def stranger(number: int = 1, *, network: bytes = b"n1") -> list[tuple[str, bytes]]:
    """The same for an anonymous requester."""
    requester = job_pb2.Requester(account_id="anonymous", anonymous_digest=bytes([number]) * 32)
    return [(HEADER, visitor_pb2.Visitor(requester=requester, network_digest=network).SerializeToString())]


@dataclass
class CurationBench:
    """A curation service, stubs to it as the gateway, and what it looks at."""

    settings: CurationSettings
    sharing: Sharing
    address: str
    channel: aio.Channel
    moderation: Any
    rating: Any
    releases: Any
    clock: Any


def curation_settings(folder: Path, **fields: Any) -> CurationSettings:
    """Settings of a service that keeps everything in a folder."""
    key = folder / "run.key"
    if not key.exists():
        create_key_file(key)
    facts: dict[str, Any] = {
        "listen": "127.0.0.1:0",
        "key_file": key,
        "state_dir": folder / "curation",
        "shared_dir": folder / "shared",
        "releases_dir": folder / "releases",
        "public_keys_dir": folder / "public-keys",
        "grace_seconds": 0.0,
    }
    return CurationSettings(**(facts | fields))


@asynccontextmanager
async def curation(folder: Path, *, clock: Clock | None = None, **fields: Any) -> AsyncIterator[CurationBench]:
    """The service over real sockets. `fields` are settings."""
    settings = curation_settings(folder, **fields)
    clock = clock or ManualClock(START)
    moment = Moment(clock.now())
    assert settings.key_file is not None
    caller = Credentials.from_key_file("gateway", settings.key_file)
    async with (
        plain_folder(settings.shared_dir, moment) as shared,
        serve(settings, clock) as server,
        dial(f"127.0.0.1:{server.port}", caller=caller, retry=False, timeout=HANG, wait_for_ready=True) as channel,
    ):
        yield CurationBench(
            settings,
            Sharing(shared, moment),
            f"127.0.0.1:{server.port}",
            channel,
            ModerationServiceStub(channel),
            RatingServiceStub(channel),
            DataReleaseServiceStub(channel),
            clock,
        )
