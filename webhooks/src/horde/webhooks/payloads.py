"""What is said to a webhook: ids and how something ended, as JSON. Never a picture, a link, a ticket or a prompt."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from horde.api.generation.v1 import generation_pb2
from horde.api.ledger.v1 import ledger_pb2
from horde.api.webhook.v1 import webhook_service_pb2 as pb
from horde.webhooks.core.deliveries import Delivery, delivery_of
from horde.webhooks.core.webhooks import Event, Webhook

RECEIVED = frozenset(
    {
        ledger_pb2.TRANSFER_CODE_EARNING,
        ledger_pb2.TRANSFER_CODE_EARNING_ESCROW,
        ledger_pb2.TRANSFER_CODE_UPTIME,
        ledger_pb2.TRANSFER_CODE_AWARD,
        ledger_pb2.TRANSFER_CODE_GIFT,
        ledger_pb2.TRANSFER_CODE_CORRECTION,
        ledger_pb2.TRANSFER_CODE_RATING,
    }
)
"""Why kudos come to somebody from elsewhere. What was held and comes back, or leaves escrow, was his already."""


def body_of(event: Event, at: datetime, data: Message) -> str:
    """The body of a delivery."""
    plain = MessageToDict(data, preserving_proto_field_name=True)
    at_text = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"type": event.value, "timestamp": at_text, "data": plain}, separators=(",", ":"))


def image_ended(generation: generation_pb2.Generation, image: generation_pb2.Image) -> pb.ImageEnded:
    """What is said of an image."""
    return pb.ImageEnded(
        generation_id=generation.generation_id,
        request_id=generation.request_id,
        job_id=image.job_id,
        index=image.index,
        ending=image.ending,
    )


def generation_finished(generation: generation_pb2.Generation) -> pb.GenerationFinished:
    """What is said of a generation."""
    return pb.GenerationFinished(
        generation_id=generation.generation_id,
        request_id=generation.request_id,
        images=[image_ended(generation, image) for image in generation.images],
    )


def received(entry: ledger_pb2.Entry) -> dict[str, pb.KudosReceived]:
    """What is said of an entry, to each account that it brought kudos from elsewhere."""
    by_account: dict[str, pb.KudosReceived] = {}
    for transfer in entry.transfers:
        account_id = transfer.credit.account_id
        if transfer.code not in RECEIVED or not account_id or account_id == transfer.debit.account_id:
            continue
        if account_id not in by_account:
            by_account[account_id] = pb.KudosReceived(event_id=entry.event_id, kind=entry.kind)
        if transfer.credit.kind == ledger_pb2.LEDGER_ACCOUNT_KIND_ESCROW:
            by_account[account_id].to_escrow_mkudos += transfer.amount_mkudos
        else:
            by_account[account_id].to_spend_mkudos += transfer.amount_mkudos
    for account_id, received in by_account.items():
        if entry.HasField("settlement") and entry.settlement.owner_account_id == account_id:
            received.job_id, received.worker_id = entry.job_id, entry.settlement.worker_id
    return by_account


def notices(disabled: Webhook, theirs: Sequence[Webhook], now: datetime) -> list[Delivery]:
    """What an owner's webhooks say of one of them that the mesh has disabled."""
    event = Event.WEBHOOK_DISABLED
    because = disabled.disabled_because
    body = body_of(
        event, now, pb.WebhookDisabled(webhook_id=disabled.webhook_id, label=disabled.label, because=because)
    )
    return [
        delivery_of(other, event, disabled.webhook_id, body, now, once=now.isoformat())
        for other in theirs
        if other.webhook_id != disabled.webhook_id and other.wants(event)
    ]
