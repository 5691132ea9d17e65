"""What happens is told to whoever wants it: signed, once under one id, again when it fails, and nothing but ids."""

from __future__ import annotations

import asyncio
import base64
import json
import uuid
from collections.abc import Sequence
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook as Verifier

from horde.api.job.v1 import job_pb2
from horde.api.ledger.v1 import ledger_pb2
from horde.api.standing.v1 import standing_service_pb2 as standing_pb2
from horde.api.webhook.v1 import webhook_service_pb2 as pb
from horde.internal.webhook.v1 import news_service_pb2
from horde.services.clock import SystemClock
from horde.testkit.certificates import Authority
from horde.testkit.loopback import ManualClock
from horde.testkit.waiting import POLL_SECONDS, ticks, until
from horde.testkit.webhooks import (
    Call,
    Names,
    Receiver,
    WebhooksBench,
    ended,
    generation_of,
    receiver,
    visitor,
    webhooks,
)
from horde.webhooks import sending
from horde.webhooks.core.deliveries import PAUSES

ANNA = visitor("anna")
SECRET, OTHER = (f"whsec_{base64.b64encode(bytes([n]) * 32).decode()}" for n in (1, 2))
EVERYTHING = [
    pb.WEBHOOK_EVENT_GENERATION_FINISHED,
    pb.WEBHOOK_EVENT_IMAGE_ENDED,
    pb.WEBHOOK_EVENT_KUDOS_RECEIVED,
    pb.WEBHOOK_EVENT_WORKER_RESTRICTED,
    pb.WEBHOOK_EVENT_WEBHOOK_DISABLED,
]
DONE, CANCELLED = job_pb2.JOB_ENDING_DONE, job_pb2.JOB_ENDING_CANCELLED


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


async def create(
    it: WebhooksBench, url: str, events: Sequence[int] = EVERYTHING, who: Any = ANNA, **fields: Any
) -> pb.Webhook:
    request = pb.CreateWebhookRequest(
        request_id=str(uuid.uuid4()), url=url, events=events, secret=SECRET, **fields  # type: ignore[arg-type]
    )  # fmt: skip
    answer: pb.CreateWebhookResponse = await it.webhooks.CreateWebhook(request, metadata=who)
    return answer.webhook


async def log_of(it: WebhooksBench, webhook: pb.Webhook, who: Any = ANNA) -> list[pb.Delivery]:
    request = pb.ListDeliveriesRequest(webhook_id=webhook.webhook_id)
    return list((await it.webhooks.ListDeliveries(request, metadata=who)).deliveries)


async def log_is(it: WebhooksBench, webhook: pb.Webhook, *states: int) -> list[pb.Delivery]:
    """The webhook's log, once its states are these, newest first."""
    for _ in ticks():
        found = await log_of(it, webhook)
        if [each.state for each in found] == list(states):
            return found
        await asyncio.sleep(POLL_SECONDS)
    raise AssertionError("it never came to be so")


async def listed(it: WebhooksBench, webhook: pb.Webhook) -> pb.Webhook:
    """The webhook as it is now."""
    answer = await it.webhooks.ListWebhooks(pb.ListWebhooksRequest(), metadata=ANNA)
    (found,) = [each for each in answer.webhooks if each.webhook_id == webhook.webhook_id]
    assert isinstance(found, pb.Webhook)
    return found


def said(heard: Receiver, kind: str) -> list[dict[str, Any]]:
    told = [json.loads(call.body) for call in heard.calls]
    return [each["data"] for each in told if each["type"] == kind]


def answers(*statuses: str) -> Any:
    left = list(statuses)
    return lambda _: f"HTTP/1.1 {left.pop(0) if len(left) > 1 else left[0]}\r\ncontent-length: 0\r\n\r\n".encode()


async def test_what_ended_is_told_signed_and_of_what_was_asked_for_nothing(
    tmp_path: Path, authority: Authority
) -> None:
    # The verifier looks at the clock on the wall.
    async with receiver(authority) as heard, webhooks(tmp_path, authority, clock=SystemClock()) as it:
        webhook = await create(it, heard.url)
        it.scheduler.show(generation_of("g1", DONE, 0))
        await it.ledger.enter(ended("g1", "g1-0"))
        await until(lambda: said(heard, "image.ended"))
        it.scheduler.show(generation_of("g1", DONE, CANCELLED))
        await until(lambda: said(heard, "generation.finished"))
        await until(lambda: len(heard.calls) == 3)
        first, second = sorted(said(heard, "image.ended"), key=lambda data: str(data["job_id"]))
        assert first == {
            "generation_id": "g1", "request_id": "request-1", "job_id": "g1-0", "ending": "JOB_ENDING_DONE"
        }  # fmt: skip
        assert (second["index"], second["ending"]) == (1, "JOB_ENDING_CANCELLED")
        (finished,) = said(heard, "generation.finished")
        assert [image["job_id"] for image in finished["images"]] == ["g1-0", "g1-1"]
        for call in heard.calls:
            assert call.path == "/hook?a=1"
            assert call.headers["content-type"] == "application/json"
            Verifier(SECRET).verify(call.body, call.headers)
            assert b"secret wish" not in call.body
        log = await log_is(it, webhook, *[pb.DELIVERY_STATE_DELIVERED] * 3)
        assert {each.delivery_id for each in log} == {call.headers["webhook-id"] for call in heard.calls}
        assert {each.subject_id for each in log} == {"g1", "g1-0", "g1-1"}
        assert all(request.durable_only for request in it.scheduler.followed)
        # The other job's entry, which comes last, tells nobody anything anew.
        await it.ledger.enter(ended("g1", "g1-1"))
        await until(lambda: len(it.scheduler.followed) == 2)
        assert (await listed(it, webhook)).HasField("last_success_at")
        assert len(await log_of(it, webhook)) == 3


async def test_kudos_and_restrictions_are_told_to_whose_they_are(tmp_path: Path, authority: Authority) -> None:
    olga = visitor("olga")
    async with receiver(authority) as heard, webhooks(tmp_path, authority) as it:
        await create(it, heard.url, who=olga)
        gift = ledger_pb2.Entry(event_id="gift", kind=ledger_pb2.EVENT_KIND_GIFT)
        given = gift.transfers.add(amount_mkudos=5, code=ledger_pb2.TRANSFER_CODE_GIFT)
        given.debit.account_id, given.credit.account_id = "olga", "anna"
        promotion = ledger_pb2.Entry(event_id="promotion", kind=ledger_pb2.EVENT_KIND_PROMOTION)
        freed = promotion.transfers.add(amount_mkudos=7, code=ledger_pb2.TRANSFER_CODE_PROMOTION)
        freed.debit.account_id = freed.credit.account_id = "olga"
        await it.ledger.enter(gift, promotion, ended("g1", "job-1", owner="olga"))
        await until(lambda: heard.calls)
        assert said(heard, "kudos.received") == [
            {
                "event_id": "job-1",
                "kind": "EVENT_KIND_SETTLE",
                "to_spend_mkudos": "9000",
                "job_id": "job-1",
                "worker_id": "worker-1",
            }
        ]
        restriction = standing_pb2.Restriction(restriction_id="r1", reason="noise")
        restriction.target.owner_account_id = "olga"
        told = news_service_pb2.TellRestrictionRequest(owner_account_id="olga", restriction=restriction)
        for _ in range(2):
            await it.news.TellRestriction(told)
        await until(lambda: len(heard.calls) == 2)
        assert said(heard, "worker.restricted")[0]["restriction"]["restriction_id"] == "r1"


async def test_only_what_was_asked_for_is_told(tmp_path: Path, authority: Authority) -> None:
    async with receiver(authority) as heard, webhooks(tmp_path, authority) as it:
        await create(it, heard.url, [pb.WEBHOOK_EVENT_GENERATION_FINISHED], request_id_prefix="nightly-")
        await create(it, heard.url, [pb.WEBHOOK_EVENT_GENERATION_FINISHED], who=visitor("bert"))
        for name, request_id in (("g1", "other"), ("g2", "nightly-1"), ("g3", "nightly-2")):
            it.scheduler.show(generation_of(name, DONE, request_id=request_id))
            await it.ledger.enter(ended(name, f"{name}-0"))
        await until(lambda: len(heard.calls) == 2)
        assert {data["generation_id"] for data in said(heard, "generation.finished")} == {"g2", "g3"}


async def tell(it: WebhooksBench, name: str, owner: str = "anna") -> None:
    await it.ledger.enter(ended("g0", name, payer="", owner=owner))


async def test_what_fails_is_tried_again_under_the_same_id(tmp_path: Path, authority: Authority) -> None:
    async with receiver(authority) as heard, webhooks(tmp_path, authority) as it:
        heard.answer = answers("503 Away", "302 Found\r\nlocation: https://hooks.test/other", "204 OK")
        webhook = await create(it, heard.url)
        await tell(it, "job-1")
        for tries, pause in ((1, PAUSES[0]), (2, PAUSES[1])):
            await waits(it, webhook, tries)
            it.clock.jump(pause.total_seconds() * 0.75)
            assert len(heard.calls) == tries
            it.clock.jump(pause.total_seconds() * 0.5)
        (delivery,) = await log_is(it, webhook, pb.DELIVERY_STATE_DELIVERED)
        assert [each.http_status for each in delivery.tries] == [503, 302, 204]
        assert {call.headers["webhook-id"] for call in heard.calls} == {delivery.delivery_id}
        assert {call.path for call in heard.calls} == {"/hook?a=1"}


async def waits(it: WebhooksBench, webhook: pb.Webhook, tries: int) -> None:
    """Until so many tries of the one delivery are kept, and a timer for the next one runs."""
    for _ in ticks():
        for delivery in await log_of(it, webhook):
            left = (delivery.next_try_at.ToDatetime(UTC) - it.clock.now()).total_seconds()
            if len(delivery.tries) == tries and it.clock.waits_for(left):
                return
        await asyncio.sleep(POLL_SECONDS)
    raise AssertionError("it is not tried again")


async def test_what_was_being_told_when_the_process_ended_is_told_by_the_next(
    tmp_path: Path, authority: Authority
) -> None:
    clock, never = ManualClock(), asyncio.Event()

    async def hang(_: Call) -> bytes:
        await never.wait()
        return b""

    async with receiver(authority) as heard:
        heard.answer = hang
        async with webhooks(tmp_path, authority, clock=clock) as it:
            webhook = await create(it, heard.url)
            await tell(it, "job-1")
            await until(lambda: len(heard.calls) == 1)
            feeds = it.ledger, it.scheduler
            it.scheduler.show(generation_of("g1", 0))
        heard.answer = answers("204 OK")
        async with webhooks(tmp_path, authority, clock=clock, feeds=feeds) as it:
            await tell(it, "job-2")
            await until(lambda: len(heard.calls) == 3)
            await log_is(it, webhook, *[pb.DELIVERY_STATE_DELIVERED] * 2)
        ids = [call.headers["webhook-id"] for call in heard.calls]
        assert ids.count(ids[0]) == 2
        assert len(set(ids)) == 2


async def test_a_name_that_leads_elsewhere_later_is_not_called(tmp_path: Path, authority: Authority) -> None:
    names = Names()
    async with receiver(authority) as heard, webhooks(tmp_path, authority, names=names) as it:
        webhook = await create(it, heard.url)
        for addresses in (["169.254.169.254"], ["127.0.0.1", "10.0.0.1"], ["::ffff:10.0.0.1"], []):
            names.addresses["hooks.test"] = addresses
            retry = pb.TestWebhookRequest(webhook_id=webhook.webhook_id)
            delivery = (await it.webhooks.TestWebhook(retry, metadata=ANNA)).delivery
            assert delivery.state == pb.DELIVERY_STATE_GIVEN_UP
            assert [each.error for each in delivery.tries] == ["Its host has no public address."]
        assert heard.calls == []
        names.addresses["hooks.test"] = ["127.0.0.1"]
        again = pb.RetryDeliveryRequest(webhook_id=webhook.webhook_id, delivery_id=delivery.delivery_id)
        delivery = (await it.webhooks.RetryDelivery(again, metadata=ANNA)).delivery
        assert (delivery.state, len(delivery.tries)) == (pb.DELIVERY_STATE_DELIVERED, 2)
        assert said(heard, "test") == [{"webhook_id": webhook.webhook_id}]


async def test_who_takes_a_connection_and_says_nothing_is_hung_up_on(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "ANSWER_SECONDS", 0.01)
    ended = asyncio.Event()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Its first word of TLS, and no answer.
        while await reader.read(4_096):
            pass
        ended.set()
        writer.close()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    async with server, webhooks(tmp_path, authority) as it:
        webhook = await create(it, f"https://hooks.test:{server.sockets[0].getsockname()[1]}/")
        request = pb.TestWebhookRequest(webhook_id=webhook.webhook_id)
        delivery = (await it.webhooks.TestWebhook(request, metadata=ANNA)).delivery
        assert delivery.tries[0].error.startswith("No answer came")
        await until(ended.is_set)


async def test_a_certificate_of_somebody_else_is_not_believed(tmp_path: Path, authority: Authority) -> None:
    async with receiver(authority, "other.test") as heard, webhooks(tmp_path, authority) as it:
        webhook = await create(it, heard.url)
        request = pb.TestWebhookRequest(webhook_id=webhook.webhook_id)
        delivery = (await it.webhooks.TestWebhook(request, metadata=ANNA)).delivery
        assert delivery.tries[0].error.startswith("Its certificate does not hold")
        assert heard.calls == []


async def test_a_changed_secret_signs_beside_the_old_one_for_a_day(tmp_path: Path, authority: Authority) -> None:
    async with receiver(authority) as heard, webhooks(tmp_path, authority) as it:
        webhook = await create(it, heard.url)
        changed = pb.UpdateWebhookRequest(webhook_id=webhook.webhook_id, secret=OTHER)
        await it.webhooks.UpdateWebhook(changed, metadata=ANNA)
        test = pb.TestWebhookRequest(webhook_id=webhook.webhook_id)
        await it.webhooks.TestWebhook(test, metadata=ANNA)
        it.clock.jump(86_401)
        await it.webhooks.TestWebhook(test, metadata=ANNA)
        assert [len(call.headers["webhook-signature"].split(" ")) for call in heard.calls] == [2, 1]


async def test_who_answers_gone_is_disabled_and_the_owners_others_are_told(
    tmp_path: Path, authority: Authority
) -> None:
    async with receiver(authority) as gone, receiver(authority) as heard, webhooks(tmp_path, authority) as it:
        gone.answer = answers("410 Gone")
        webhook = await create(it, gone.url, [pb.WEBHOOK_EVENT_KUDOS_RECEIVED], label="old")
        await create(it, heard.url, [pb.WEBHOOK_EVENT_WEBHOOK_DISABLED])
        await tell(it, "job-1")
        await until(lambda: heard.calls)
        (told,) = said(heard, "webhook.disabled")
        assert (told["webhook_id"], told["label"]) == (webhook.webhook_id, "old")
        now = await listed(it, webhook)
        assert (now.enabled, now.disabled_because) == (False, "Its address answered 410 Gone.")
        await tell(it, "job-2")
        enabled = pb.UpdateWebhookRequest(webhook_id=webhook.webhook_id, enabled=True)
        now = (await it.webhooks.UpdateWebhook(enabled, metadata=ANNA)).webhook
        assert (now.enabled, now.disabled_because) == (True, "")


async def test_whose_deliveries_pile_up_is_disabled(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "MAX_WAITING", 5)
    async with receiver(authority) as heard, webhooks(tmp_path, authority) as it:
        heard.answer = answers("500 No")
        webhook = await create(it, heard.url, [pb.WEBHOOK_EVENT_KUDOS_RECEIVED])
        for number in range(6):
            await tell(it, f"job-{number}")

        for _ in ticks():
            if not (await listed(it, webhook)).enabled:
                break
            await asyncio.sleep(POLL_SECONDS)
        assert {each.state for each in await log_of(it, webhook)} == {pb.DELIVERY_STATE_GIVEN_UP}


async def test_one_accounts_slow_programs_keep_nobody_elses_waiting(tmp_path: Path, authority: Authority) -> None:
    release = asyncio.Event()

    async def hang(_: Call) -> bytes:
        await release.wait()
        return b"HTTP/1.1 204 OK\r\n\r\n"

    async with receiver(authority) as slow, receiver(authority) as heard, webhooks(tmp_path, authority) as it:
        slow.answer = hang
        for _ in range(8):
            await create(it, slow.url, [pb.WEBHOOK_EVENT_KUDOS_RECEIVED])
        await create(it, heard.url, [pb.WEBHOOK_EVENT_KUDOS_RECEIVED], who=visitor("bert"))
        for number in range(8):
            await tell(it, f"job-{number}")
        await until(lambda: slow.open)
        await tell(it, "job-b", owner="bert")
        await until(lambda: heard.calls)
        assert len(slow.calls) == slow.open <= 7
        release.set()
        await until(lambda: len(slow.calls) == 64)
        assert slow.most_open <= 7


async def test_nobody_listens_to_the_ledger_when_nobody_wants_to_be_told(tmp_path: Path, authority: Authority) -> None:
    async with receiver(authority) as heard, webhooks(tmp_path, authority) as it:
        assert it.ledger.followers == 0
        await it.ledger.enter(*[ended("g0", f"before-{number}") for number in range(5)])
        await create(it, heard.url)
        await until(lambda: it.ledger.followers)
        await tell(it, "after", owner="anna")
        await until(lambda: heard.calls)
        assert [data["event_id"] for data in said(heard, "kudos.received")] == ["after"]


async def test_an_account_that_ends_takes_its_webhooks_with_it(tmp_path: Path, authority: Authority) -> None:
    async with receiver(authority) as heard, webhooks(tmp_path, authority) as it:
        await create(it, heard.url)
        request = news_service_pb2.ForgetAccountRequest(account_id="anna")
        for _ in range(2):
            assert (await it.news.ForgetAccount(request)).left == 0
        assert not (await it.webhooks.ListWebhooks(pb.ListWebhooksRequest(), metadata=ANNA)).webhooks
