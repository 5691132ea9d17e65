"""`horde webhooks`: addresses that the mesh calls when something happened to what is yours."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Final

import click

from horde.cli.commands.asking import asks
from horde.cli.commands.exits import Exit
from horde.cli.commands.groups import DefaultGroup
from horde.cli.commands.output import Output, short
from horde.cli.commands.values import TEXT, WORD

if TYPE_CHECKING:
    from horde.api.webhook.v1 import webhook_service_pb2 as pb
    from horde.clients.client import HordeClient

EVENTS: Final = ("generation.finished", "image.ended", "kudos.received", "worker.restricted", "webhook.disabled")


@click.group(cls=DefaultGroup, default="list", context_settings={"help_option_names": ["-h", "--help"]})
def webhooks() -> None:
    """Addresses that the mesh calls. Without a further word: list."""


@webhooks.command()
@click.argument("url", type=WORD)
@click.option(
    "--event",
    "events",
    type=click.Choice(EVENTS),
    multiple=True,
    default=("generation.finished",),
    show_default=True,
    help="What it is told of; more than once for more.",
)
@click.option("--label", type=TEXT, default=None, help="What you call it.")
@click.option("--prefix", type=WORD, default=None, help="Only of generations whose request id begins so.")
@click.option("--secret", type=WORD, default=None, help="whsec_ and base64. Default: a new one, which is shown once.")
@asks
async def create(
    horde: HordeClient,
    out: Output,
    url: str,
    events: tuple[str, ...],
    label: str | None,
    prefix: str | None,
    secret: str | None,
) -> None:
    """Have URL, https:// and public, called with what happens from now on."""
    from horde.api.webhook.v1.webhook_service_pb2 import WebhookEvent
    from horde.clients.webhooks import new_secret

    secret = secret or new_secret()
    numbers = [WebhookEvent.Value(f"WEBHOOK_EVENT_{event.replace('.', '_').upper()}") for event in events]
    made = await horde.webhooks.create(url, numbers, secret, label=label or "", request_id_prefix=prefix or "")
    out.document({"webhook": made, "secret": secret})
    _say(out, made)
    out.say(f"its secret, shown this once: {secret}")
    out.say("it verifies what comes in the Standard Webhooks form (standardwebhooks.com)")


@webhooks.command(name="list")
@asks
async def list_webhooks(horde: HordeClient, out: Output) -> None:
    """Your webhooks, and whether they are called."""
    found = await horde.webhooks.all()
    out.document({"webhooks": found})
    if not found:
        out.say("no webhooks")
    for webhook in found:
        _say(out, webhook)


@webhooks.command()
@click.argument("webhook_id", type=WORD)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 10_000), help="Deliveries to show.")
@asks
async def log(horde: HordeClient, out: Output, webhook_id: str, limit: int) -> None:
    """What WEBHOOK_ID was told in the last seven days, and what it answered, newest first."""
    found = []
    async for delivery in horde.webhooks.log(webhook_id, page_size=min(limit, 100)):
        found.append(delivery)
        if len(found) >= limit:
            break
    out.document({"deliveries": found})
    if not found:
        out.say("nothing was told")
    for delivery in found:
        _say_delivery(out, delivery)


@webhooks.command()
@click.argument("webhook_id", type=WORD)
@asks
async def test(horde: HordeClient, out: Output, webhook_id: str) -> Exit | None:
    """Have WEBHOOK_ID called now, and see what it answers."""
    return _came_of_it(out, await horde.webhooks.test(webhook_id))


@webhooks.command()
@click.argument("webhook_id", type=WORD)
@click.argument("delivery_id", type=WORD)
@asks
async def retry(horde: HordeClient, out: Output, webhook_id: str, delivery_id: str) -> Exit | None:
    """Have DELIVERY_ID of WEBHOOK_ID tried once more, now."""
    return _came_of_it(out, await horde.webhooks.retry(webhook_id, delivery_id))


@webhooks.command()
@click.argument("webhook_id", type=WORD)
@click.option("--secret", type=WORD, default=None, help="whsec_ and base64. Default: a new one, which is shown once.")
@asks
async def rotate(horde: HordeClient, out: Output, webhook_id: str, secret: str | None) -> None:
    """Give WEBHOOK_ID another secret. For a day what it is told is signed with both."""
    from horde.api.webhook.v1.webhook_service_pb2 import UpdateWebhookRequest
    from horde.clients.webhooks import new_secret

    secret = secret or new_secret()
    changed = await horde.webhooks.update(UpdateWebhookRequest(webhook_id=webhook_id, secret=secret))
    out.document({"webhook": changed, "secret": secret})
    out.say(f"its new secret, shown this once: {secret}")
    out.say("for a day what it is told is signed with the old one, too")


@webhooks.command()
@click.argument("webhook_id", type=WORD)
@asks
async def enable(horde: HordeClient, out: Output, webhook_id: str) -> None:
    """Have WEBHOOK_ID called again, with what happens from now on."""
    await _switch(horde, out, webhook_id, enabled=True)


@webhooks.command()
@click.argument("webhook_id", type=WORD)
@asks
async def disable(horde: HordeClient, out: Output, webhook_id: str) -> None:
    """Have WEBHOOK_ID called no more. What waits for it is given up."""
    await _switch(horde, out, webhook_id, enabled=False)


@webhooks.command()
@click.argument("webhook_id", type=WORD)
@asks
async def delete(horde: HordeClient, out: Output, webhook_id: str) -> None:
    """Remove WEBHOOK_ID, with its log."""
    await horde.webhooks.delete(webhook_id)
    out.document({"deleted": webhook_id})
    out.say(f"{short(webhook_id)} is gone")


async def _switch(horde: HordeClient, out: Output, webhook_id: str, *, enabled: bool) -> None:
    from horde.api.webhook.v1.webhook_service_pb2 import UpdateWebhookRequest

    changed = await horde.webhooks.update(UpdateWebhookRequest(webhook_id=webhook_id, enabled=enabled))
    out.document({"webhook": changed})
    _say(out, changed)


def _say(out: Output, webhook: pb.Webhook) -> None:
    from rich.markup import escape

    from horde.api.webhook.v1.webhook_service_pb2 import WebhookEvent

    names = [WebhookEvent.Name(event).removeprefix("WEBHOOK_EVENT_") for event in webhook.events]
    told = ", ".join(name.lower().replace("_", ".", 1) for name in names)
    state = "[green]enabled[/green]" if webhook.enabled else "[red]disabled[/red]"
    label = f"  {escape(webhook.label)}" if webhook.label else ""
    out.say(f"{webhook.webhook_id}  {state}  {escape(webhook.url)}{label}  ({told})")
    if webhook.disabled_because:
        out.say(f"    {escape(webhook.disabled_because)}")


def _say_delivery(out: Output, delivery: pb.Delivery) -> None:
    from rich.markup import escape

    from horde.api.webhook.v1.webhook_service_pb2 import DeliveryState, WebhookEvent

    event = WebhookEvent.Name(delivery.event).removeprefix("WEBHOOK_EVENT_").lower().replace("_", ".", 1)
    state = DeliveryState.Name(delivery.state).removeprefix("DELIVERY_STATE_").lower().replace("_", " ")
    at = delivery.created_at.ToDatetime(UTC)
    out.say(f"{at:%Y-%m-%d %H:%M:%S}  {delivery.delivery_id}  {event}  {short(delivery.subject_id)}  {state}")
    for attempt in delivery.tries:
        answer = str(attempt.http_status) if attempt.http_status else escape(attempt.error)
        out.say(f"    {attempt.at.ToDatetime(UTC):%H:%M:%S}  {answer}")


def _came_of_it(out: Output, delivery: pb.Delivery) -> Exit | None:
    out.document({"delivery": delivery})
    _say_delivery(out, delivery)
    last = delivery.tries[-1]
    return None if 200 <= last.http_status < 300 else Exit.FAILED
