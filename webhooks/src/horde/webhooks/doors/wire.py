"""Between the contract's messages and the values of this service. Shapes only, no decisions."""

from __future__ import annotations

from typing import Final

from horde.api.webhook.v1 import webhook_service_pb2 as pb
from horde.webhooks.core.deliveries import Delivery, State, Try
from horde.webhooks.core.webhooks import Event, Webhook

EVENT_NUMBERS: Final[dict[Event, pb.WebhookEvent.ValueType]] = {
    event: pb.WebhookEvent.Value(f"WEBHOOK_EVENT_{event.name}") for event in Event
}
EVENTS: Final[dict[int, Event]] = {number: event for event, number in EVENT_NUMBERS.items() if event is not Event.TEST}
"""What can be asked for, by number."""
STATES: Final[dict[State, pb.DeliveryState.ValueType]] = {
    state: pb.DeliveryState.Value(f"DELIVERY_STATE_{state.name}") for state in State
}


def webhook_message(webhook: Webhook) -> pb.Webhook:
    """A webhook, as its owner sees it: without its secret."""
    message = pb.Webhook(
        webhook_id=webhook.webhook_id,
        url=webhook.url,
        label=webhook.label,
        events=sorted(EVENT_NUMBERS[event] for event in webhook.events),
        request_id_prefix=webhook.request_id_prefix,
        enabled=webhook.enabled,
        disabled_because=webhook.disabled_because,
    )
    message.created_at.FromDatetime(webhook.created_at)
    if webhook.last_success_at is not None:
        message.last_success_at.FromDatetime(webhook.last_success_at)
    return message


def delivery_message(delivery: Delivery) -> pb.Delivery:
    """A delivery, as its webhook's owner sees it."""
    message = pb.Delivery(
        delivery_id=delivery.delivery_id,
        webhook_id=delivery.webhook_id,
        event=EVENT_NUMBERS[delivery.event],
        subject_id=delivery.subject_id,
        state=STATES[delivery.state],
        tries=map(_try_message, delivery.tries),
    )
    message.created_at.FromDatetime(delivery.created_at)
    if delivery.next_try_at is not None:
        message.next_try_at.FromDatetime(delivery.next_try_at)
    return message


def _try_message(attempt: Try) -> pb.DeliveryTry:
    message = pb.DeliveryTry(http_status=attempt.http_status, error=attempt.error)
    message.at.FromDatetime(attempt.at)
    message.took.FromTimedelta(attempt.took)
    return message
