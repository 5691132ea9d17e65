"""What moderation withholds nobody fetches but moderators; and tickets of the curation service are for nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from horde.api.storage.v1 import storage_service_pb2 as storage
from horde.services.errors import ServiceError
from horde.services.tokens import TokenWrongAudience
from horde.storage_router.core.errors import LinksUnsupported, ObjectNotFound
from horde.storage_router.doors.permits import AUDIENCE
from horde.testkit.loopback import ManualClock
from horde.testkit.storage_router import LIFETIME, Job, Kit, kit, paint

IMAGE, SHARED = paint(), Job().shared()


@pytest_asyncio.fixture
async def router() -> AsyncIterator[Kit]:
    async with kit(ManualClock()) as opened:
        await opened.upload(SHARED, IMAGE)
        await opened.commit(SHARED.commit(IMAGE))
        yield opened


def ticket(router: Kit, **claims: Any) -> str:
    """What the curation service gives to whom it shows an image."""
    shown = {"act": "get_shared", "job_id": SHARED.job_id, "sha256": hashlib.sha256(IMAGE).hexdigest()}
    return router.curation.sign(AUDIENCE, {**shown, "reviewing": False, **claims}, LIFETIME, router.clock.now())


async def say(router: Kit, **told: Any) -> None:
    key = f"moderation/{SHARED.job_id}.json"
    await router.shared.delete(key)
    await router.shared.put(key, json.dumps(told).encode())


async def test_what_is_withheld_is_there_for_moderators_alone(router: Kit) -> None:
    own, shown, reviewed = (
        router.ticket(SHARED.image_ticket_claims(IMAGE)),
        ticket(router),
        ticket(router, reviewing=True),
    )
    for told in ({"verdict": "safe", "withheld": False}, {"verdict": "unsafe", "withheld": False}, {"verdict": "safe"}):
        await say(router, **told)
        for good in (own, shown, reviewed):
            assert (await router.download(good))[1] == IMAGE
    await say(router, verdict="reported", withheld=True)
    for refused in (own, shown):
        with pytest.raises(ObjectNotFound):
            await router.download(refused)
        with pytest.raises(ServiceError):
            await router.door.CreateLink(storage.CreateLinkRequest(ticket=refused))
    assert (await router.download(reviewed))[1] == IMAGE
    await say(router, verdict="safe", withheld=False)
    assert (await router.download(own))[1] == IMAGE


async def test_there_is_no_link_to_what_is_looked_at_to_decide(router: Kit) -> None:
    with pytest.raises(LinksUnsupported):
        await router.door.CreateLink(storage.CreateLinkRequest(ticket=ticket(router, reviewing=True)))


async def test_the_curation_service_permits_shared_images_and_nothing_else(router: Kit) -> None:
    private = Job(job_id="9b2d8c1e-0000-5000-8000-0000000000aa")
    await router.upload(private, IMAGE)
    await router.commit(private.commit(IMAGE))
    with pytest.raises(ObjectNotFound):
        await router.download(ticket(router, job_id=private.job_id, reviewing=True))
    with pytest.raises(ObjectNotFound):
        await router.download(ticket(router, sha256="0" * 64))
    for claims in (private.image_ticket_claims(IMAGE), SHARED.image_ticket_claims(IMAGE)):
        with pytest.raises(TokenWrongAudience):
            await router.download(router.curation.sign(AUDIENCE, claims, LIFETIME, router.clock.now()))


async def test_nobody_but_the_curation_service_gives_such_tickets(router: Kit) -> None:
    claims = {"act": "get_shared", "job_id": SHARED.job_id, "sha256": hashlib.sha256(IMAGE).hexdigest()}
    for signer in (router.gateway, router.scheduler):
        with pytest.raises(TokenWrongAudience):
            await router.download(signer.sign(AUDIENCE, {**claims, "reviewing": True}, LIFETIME, router.clock.now()))
