"""Reasons that the webhooks service gives."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from typing import Any

from tests.service.reasons.provoking import WEBHOOK, provokes, refusal

from horde.api.webhook.v1 import webhook_service_pb2 as pb
from horde.services.errors import ServiceError
from horde.testkit.certificates import Authority
from horde.testkit.waiting import until
from horde.testkit.webhooks import Call, WebhooksBench, receiver, visitor, webhooks
from horde.webhooks.core.webhooks import MAX_WEBHOOKS

ANNA = visitor()
URL = "https://hooks.test/"


def created(url: str = URL, **fields: Any) -> pb.CreateWebhookRequest:
    told: dict[str, Any] = {
        "request_id": str(uuid.uuid4()),
        "url": url,
        "events": [pb.WEBHOOK_EVENT_KUDOS_RECEIVED],
        "secret": f"whsec_{'A' * 40}",
    }
    return pb.CreateWebhookRequest(**(told | fields))


async def create(it: WebhooksBench, request: pb.CreateWebhookRequest) -> str:
    answer: pb.CreateWebhookResponse = await it.webhooks.CreateWebhook(request, metadata=ANNA)
    return answer.webhook.webhook_id


def authority_of(folder: Path) -> Authority:
    return Authority(folder / "authority")


@provokes(WEBHOOK, "INVALID_FIELD")
async def create_nothing(folder: Path) -> ServiceError:
    async with webhooks(folder, authority_of(folder)) as it:
        return await refusal(it.webhooks.CreateWebhook(pb.CreateWebhookRequest(), metadata=ANNA))


@provokes(WEBHOOK, "WEBHOOK_NOT_FOUND")
async def test_another_ones(folder: Path) -> ServiceError:
    async with webhooks(folder, authority_of(folder)) as it:
        webhook_id = await create(it, created())
        request = pb.TestWebhookRequest(webhook_id=webhook_id)
        return await refusal(it.webhooks.TestWebhook(request, metadata=visitor("bert")))


@provokes(WEBHOOK, "DELIVERY_NOT_FOUND")
async def retry_no_delivery(folder: Path) -> ServiceError:
    async with webhooks(folder, authority_of(folder)) as it:
        webhook_id = await create(it, created())
        request = pb.RetryDeliveryRequest(webhook_id=webhook_id, delivery_id="none")
        return await refusal(it.webhooks.RetryDelivery(request, metadata=ANNA))


@provokes(WEBHOOK, "ADDRESS_NOT_ALLOWED")
async def name_the_clouds_own_address(folder: Path) -> ServiceError:
    async with webhooks(folder, authority_of(folder)) as it:
        return await refusal(it.webhooks.CreateWebhook(created("https://169.254.169.254/"), metadata=ANNA))


@provokes(WEBHOOK, "TOO_MANY_WEBHOOKS")
async def create_one_too_many(folder: Path) -> ServiceError:
    async with webhooks(folder, authority_of(folder)) as it:
        for _ in range(MAX_WEBHOOKS):
            await create(it, created())
        return await refusal(it.webhooks.CreateWebhook(created(), metadata=ANNA))


@provokes(WEBHOOK, "REQUEST_CONFLICT")
async def create_another_under_the_same_id(folder: Path) -> ServiceError:
    async with webhooks(folder, authority_of(folder)) as it:
        request_id = str(uuid.uuid4())
        await create(it, created(request_id=request_id))
        again = created(request_id=request_id, label="another")
        return await refusal(it.webhooks.CreateWebhook(again, metadata=ANNA))


@provokes(WEBHOOK, "TOO_MANY_TRIES")
async def test_more_than_may_be_called_at_once(folder: Path) -> ServiceError:
    authority, never = authority_of(folder), asyncio.Event()

    async def hang(_: Call) -> bytes:
        await never.wait()
        return b""

    async with receiver(authority) as heard, webhooks(folder, authority) as it:
        heard.answer = hang
        request = pb.TestWebhookRequest(webhook_id=await create(it, created(heard.url)))
        under_way: list[Any] = []
        refused: list[ServiceError] = []

        async def ask() -> None:
            refused.append(await refusal(it.webhooks.TestWebhook(request, metadata=ANNA)))

        async with asyncio.TaskGroup() as group:
            under_way = [group.create_task(ask()) for _ in range(16)]
            await until(lambda: refused)
            for task in under_way:
                task.cancel()
        return refused[0]
