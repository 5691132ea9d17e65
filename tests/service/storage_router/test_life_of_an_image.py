"""An image's way through the router, over a real socket: uploaded, committed, downloaded; and everything twice."""

from __future__ import annotations

import hashlib
import json

import jwt
import pytest

from horde.testkit.loopback import ManualClock
from horde.testkit.storage_router import Job, keys_of, kit, paint


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
async def test_a_private_image_goes_from_the_worker_to_its_requester(format: str) -> None:
    image, job = paint(format), Job()
    async with kit(ManualClock()) as router:
        receipt = await router.upload(job, image)
        claims = jwt.decode(receipt, options={"verify_signature": False})
        assert claims["sha256"] == hashlib.sha256(image).hexdigest()
        assert (claims["iss"], claims["aud"], claims["act"]) == ("storage-router", "scheduler", "receipt")
        assert (claims["lease_id"], claims["owner"], claims["size_bytes"]) == (job.lease_id, "bob", len(image))
        assert (claims["format"], claims["width"], claims["height"]) == (format, 64, 64)
        assert await keys_of(router.private) == [f"quarantine/{job.job_id}/{job.lease_id}"]

        for _ in range(2):
            (outcome,) = await router.commit(job.commit(image))
            assert outcome.committed.size_bytes == len(image)
            assert outcome.committed.expires_at.ToJsonString() == "2026-01-02T00:00:00Z"
        assert await keys_of(router.private) == [f"images/{job.object_name}"]
        assert await keys_of(router.shared) == []

        header, data = await router.download(router.ticket(job.image_ticket_claims(image)))
        assert (data, header.size_bytes) == (image, len(image))
        assert (await router.download(router.ticket(job.image_ticket_claims(image)), offset=100))[1] == image[100:]


async def test_a_shared_image_stands_beside_its_consent_record() -> None:
    image, job = paint(), Job().shared()
    async with kit(ManualClock()) as router:
        await router.upload(job, image)
        for _ in range(2):
            (outcome,) = await router.commit(job.commit(image))
            assert outcome.committed.size_bytes == len(image)
            assert not outcome.committed.HasField("expires_at")
        assert await keys_of(router.private) == []
        assert await keys_of(router.shared) == [f"images/{job.job_id}.json", f"images/{job.job_id}.webp"]
        stored = await router.shared.read(f"images/{job.job_id}.json")
        assert stored is not None
        record = json.loads(stored.data)
        assert record["consent"] == {
            "who_class": "registered",
            "when": "2026-01-01T00:00:00+00:00",
            "text_version": "2026-11",
            "how": "asked",
        }
        assert record["image"]["sha256"] == hashlib.sha256(image).hexdigest()
        assert record["spec"]["image"]["seed"] == "7"
        assert "alice" not in stored.data.decode()
        assert (await router.download(router.ticket(job.image_ticket_claims(image))))[1] == image


async def test_the_same_upload_again_gets_the_same_receipt() -> None:
    async with kit(ManualClock()) as router:
        first = await router.upload(Job(), paint())
        assert await router.upload(Job(), paint()) == first
        assert len(await keys_of(router.private)) == 1
