"""A batch of orders that is far larger than it should be is carried out all the same."""

from __future__ import annotations

from pathlib import Path

from horde.api.storage.v1 import object_service_pb2 as objects
from horde.api.storage.v1.object_service_pb2_grpc import ObjectServiceStub
from horde.services.channel import dial
from horde.services.clock import SystemClock
from horde.services.identity import Credentials, create_key_file
from horde.storage_router.router import MAX_MESSAGE_BYTES, serve
from horde.storage_router.settings import StorageRouterSettings
from horde.storage_router.testing import Job, paint


async def test_orders_of_more_than_four_mebibytes_are_answered_each_by_itself(tmp_path: Path) -> None:
    key_file = tmp_path / "run.key"
    create_key_file(key_file)
    settings = StorageRouterSettings(
        listen="127.0.0.1:0",
        state_dir=tmp_path / "router",
        public_keys_dir=tmp_path / "public-keys",
        key_file=key_file,
        grace_seconds=0.1,
    )
    commits = []
    for number in range(200):
        commit = Job.numbered(number).commit(paint())
        commit.spec.image.prompt = "\N{CAT FACE}" * 8_000
        commits.append(commit)
    request = objects.CommitObjectsRequest(commits=commits)
    assert 6 * 1024 * 1024 < request.ByteSize() < MAX_MESSAGE_BYTES
    caller = Credentials.from_key_file("scheduler", key_file)
    async with (
        serve(settings, SystemClock()) as server,
        dial(f"127.0.0.1:{server.port}", caller=caller, max_message_bytes=MAX_MESSAGE_BYTES) as channel,
    ):
        answer = await ObjectServiceStub(channel).CommitObjects(request)
    assert len(answer.outcomes) == len(commits)
