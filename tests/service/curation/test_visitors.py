"""For whom a call is made is said by the gateway, and by nobody else."""

from __future__ import annotations

from pathlib import Path

import pytest

from horde.api.job.v1 import job_pb2
from horde.api.moderation.v1 import moderation_service_pb2 as pb
from horde.api.moderation.v1.moderation_service_pb2_grpc import ModerationServiceStub
from horde.curation.core.visitors import Role, Visitor
from horde.curation.doors.visitors import HEADER, visitor_of
from horde.internal.curation.v1 import visitor_pb2
from horde.services.channel import dial
from horde.services.errors import PermissionDenied, Unauthenticated
from horde.services.identity import Credentials
from horde.testkit.curation import MODERATOR, curation, stranger, visitor


class Context:
    def __init__(self, metadata: list[tuple[str, bytes]]) -> None:
        self._metadata = metadata

    def invocation_metadata(self) -> list[tuple[str, str | bytes]]:
        return list(self._metadata)


def test_a_visitor_is_who_the_gateway_says() -> None:
    assert visitor_of(Context(visitor("anna", roles=[MODERATOR]))) == Visitor(
        "anna", "anna", roles=frozenset({Role.MODERATOR}), network=b"n1".hex()
    )
    anonymous = visitor_of(Context(stranger(7)))
    assert anonymous.anonymous
    assert anonymous.identity == "anonymous:" + "07" * 32
    shared = visitor_pb2.Visitor(requester=job_pb2.Requester(account_id="anna", shared_key_id="key"))
    holder = visitor_of(Context([(HEADER, shared.SerializeToString())]))
    assert (holder.identity, holder.shared_key_id) == ("anna", "key")


@pytest.mark.parametrize("told", [[], [b"\xff\xff"], [b""], [visitor("anna")[0][1]] * 2])
def test_a_call_for_nobody_is_refused(told: list[bytes]) -> None:
    with pytest.raises(Unauthenticated):
        visitor_of(Context([(HEADER, value) for value in told]))


async def test_nobody_but_the_gateway_may_call(tmp_path: Path) -> None:
    async with curation(tmp_path) as it:
        assert it.settings.key_file is not None
        for caller in ("scheduler", "curation", None):
            credentials = caller and Credentials.from_key_file(caller, it.settings.key_file)
            async with dial(it.address, caller=credentials or None, retry=False) as channel:
                with pytest.raises(PermissionDenied):
                    await ModerationServiceStub(channel).ListCases(
                        pb.ListCasesRequest(), metadata=visitor(roles=[MODERATOR])
                    )
