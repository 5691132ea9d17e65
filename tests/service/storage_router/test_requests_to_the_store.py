"""How many requests an image costs at a real S3 server: each is a round trip, and money."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.resources import files
from typing import Any

import pytest

from horde.buckets.s3 import S3Bucket
from horde.internal.storage.v1 import object_service_pb2 as objects
from horde.storage_router.core.errors import LeaseClosed
from horde.testkit.loopback import ManualClock
from horde.testkit.relay import relay
from horde.testkit.s3 import REGION, ThrowawayS3
from horde.testkit.storage_router import Job, Kit, keys_of, kit, paint

pytestmark = pytest.mark.s3
IMAGE = paint()
MEASURED = json.loads((files("horde.cli.capacity") / "measured.json").read_text())["image"]
"""What operators reckon with."""
REQUEST = re.compile(rb"(GET|HEAD|PUT|POST|DELETE) (/\S*) HTTP/1\.1\r\n")


class Heard:
    """What was asked of the server since the last look: how often with which method."""

    def __init__(self) -> None:
        self._heard = b""

    def listen(self, data: bytes) -> None:
        self._heard += data

    def methods(self) -> Counter[str]:
        found = Counter(found[1].decode() for found in REQUEST.finditer(self._heard))
        self._heard = b""
        return found


@asynccontextmanager
async def router_on(server: ThrowawayS3, heard: Heard, replicas: int = 1) -> AsyncIterator[list[Kit]]:
    """Replicas of a router over the same two buckets of the server, behind a relay that listens."""
    clock = ManualClock()
    async with AsyncExitStack() as stack:
        line = await stack.enter_async_context(relay(server.endpoint, heard.listen))
        server.empty("horde-private", "horde-shared")
        private, shared = [
            await stack.enter_async_context(
                S3Bucket(line.address, name, server.access_key(name), server.secret(name), REGION, secure=False)
            )
            for name in ("horde-private", "horde-shared")
        ]
        named: dict[str, Any] = {
            "s3_endpoint": line.address,
            "private_secret_file": "/dev/null",
            "shared_secret_file": "/dev/null",
        }
        named |= {"private_access_key": "one", "shared_access_key": "other"}
        yield [
            await stack.enter_async_context(kit(clock, private=private, shared=shared, **named))
            for _ in range(replicas)
        ]


async def test_an_image_costs_three_requests_and_is_read_by_nobody(s3_server: ThrowawayS3) -> None:
    heard, job = Heard(), Job()
    async with router_on(s3_server, heard) as (router,):
        heard.methods()
        await router.put(job, IMAGE)
        assert heard.methods() == {"PUT": 1}
        (outcome,) = await router.commit(job.commit(IMAGE))
        assert outcome.HasField("committed")
        assert heard.methods() == {"PUT": 2}
        assert MEASURED["private"]["s3_requests"] == 1 + 2
        assert await keys_of(router.private) == [f"images/{job.object_name}"]


async def test_an_image_that_came_by_another_router_is_read_once(s3_server: ThrowawayS3) -> None:
    heard, job = Heard(), Job()
    async with router_on(s3_server, heard, replicas=2) as (first, second):
        await first.put(job, IMAGE)
        heard.methods()
        (outcome,) = await second.commit(job.commit(IMAGE))
        assert outcome.HasField("committed")
        assert heard.methods() == {"GET": 1, "PUT": 2}


async def test_a_shared_image_costs_four_more_for_its_record_its_journal_and_what_is_withdrawn(
    s3_server: ThrowawayS3,
) -> None:
    heard, job = Heard(), Job().shared()
    async with router_on(s3_server, heard) as (router,):
        heard.methods()
        await router.put(job, IMAGE)
        (outcome,) = await router.commit(job.commit(IMAGE))
        assert outcome.HasField("committed")
        assert heard.methods() == {"PUT": 5, "HEAD": 2}
        assert MEASURED["shared"]["s3_requests"] == 5 + 2


async def test_a_lease_that_nothing_came_of_is_closed_by_one_request_and_stays_closed(s3_server: ThrowawayS3) -> None:
    heard, job = Heard(), Job()
    async with router_on(s3_server, heard, replicas=2) as (first, second):
        heard.methods()
        discard = objects.DiscardObject(job_id=job.job_id, lease_id=job.lease_id)
        await first.orders.DiscardObjects(objects.DiscardObjectsRequest(discards=[discard]))
        assert heard.methods() == {"PUT": 1}
        for router in (first, second):
            with pytest.raises(LeaseClosed):
                await router.put(job, IMAGE)
        assert await keys_of(first.private) == []


async def test_what_comes_again_after_its_commit_gets_its_receipt_at_any_router(s3_server: ThrowawayS3) -> None:
    heard, job = Heard(), Job()
    async with router_on(s3_server, heard, replicas=2) as (first, second):
        receipt = await first.put(job, IMAGE)
        await first.commit(job.commit(IMAGE))
        assert await second.put(job, IMAGE) == receipt
        assert await first.put(job, IMAGE) == receipt
        assert await keys_of(first.private) == [f"images/{job.object_name}"]
