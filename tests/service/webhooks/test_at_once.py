"""Much at once: nobody's names, tests and edits keep others waiting, and what happens beside them is not lost."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.service.webhooks.test_telling import ANNA, answers, create, listed, log_is, log_of, said, tell, waits

from horde.api.standing.v1 import standing_service_pb2 as standing_pb2
from horde.api.webhook.v1 import webhook_service_pb2 as pb
from horde.internal.webhook.v1 import news_service_pb2
from horde.services.errors import InvalidArgument, NotFound, ResourceExhausted, ServiceError
from horde.services.pages import write_place
from horde.services.rates import Rate
from horde.testkit.certificates import Authority
from horde.testkit.loopback import assert_raises_reason
from horde.testkit.waiting import until
from horde.testkit.webhooks import Call, Names, ended, receiver, visitor, webhooks
from horde.webhooks import hooks, sending
from horde.webhooks.core.targets import Address
from horde.webhooks.neighbours.receivers import Receivers

KUDOS = [pb.WEBHOOK_EVENT_KUDOS_RECEIVED]
EVE = visitor("eve")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


class SlowNames(Names):
    """A resolver that waits for the name servers of some hosts."""

    def __init__(self) -> None:
        super().__init__()
        self.answered = asyncio.Event()
        self.waiting = 0

    async def __call__(self, host: str, port: int) -> Sequence[Address]:
        if host.endswith("slow.test"):
            self.waiting += 1
            await self.answered.wait()
            self.waiting -= 1
            host = "hooks.test"
        return await super().__call__(host, port)


def update(webhook: pb.Webhook, **fields: Any) -> pb.UpdateWebhookRequest:
    return pb.UpdateWebhookRequest(webhook_id=webhook.webhook_id, **fields)


def trial(webhook: pb.Webhook) -> pb.TestWebhookRequest:
    return pb.TestWebhookRequest(webhook_id=webhook.webhook_id)


async def test_an_accounts_slow_name_servers_keep_nobody_elses_waiting(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = SlowNames()
    async with receiver(authority) as heard, webhooks(tmp_path, authority, names=names) as it:
        mine, eves = await create(it, heard.url), await create(it, heard.url, who=EVE)
        # It is not known whether her addresses are allowed; who looks for them is busy still, and so are her places.
        with monkeypatch.context() as hasty:
            hasty.setattr(hooks, "CHECK_SECONDS", 0.01)
            for number in range(4):
                with assert_raises_reason(ResourceExhausted, "TOO_MANY_TRIES"):
                    await it.webhooks.UpdateWebhook(update(eves, url=f"https://{number}.slow.test/"), metadata=EVE)
        assert names.waiting == 3
        with assert_raises_reason(ResourceExhausted, "TOO_MANY_TRIES"):
            await create(it, "https://again.slow.test/", who=EVE)
        changed = (await it.webhooks.UpdateWebhook(update(mine, label="new"), metadata=ANNA)).webhook
        assert changed.label == "new"
        assert (await it.webhooks.TestWebhook(trial(mine), metadata=ANNA)).delivery.tries[0].http_status == 204
        assert (await it.webhooks.UpdateWebhook(update(mine, url=heard.url), metadata=ANNA)).webhook.url == heard.url
        names.answered.set()
        await until(lambda: not names.waiting)
        assert (await create(it, f"https://again.slow.test:{heard.port}/", who=EVE)).enabled


async def test_what_was_disabled_while_its_owner_changed_it_stays_so(tmp_path: Path, authority: Authority) -> None:
    names = SlowNames()
    async with receiver(authority) as heard, webhooks(tmp_path, authority, names=names) as it:
        heard.answer = answers("410 Gone")
        webhook = await create(it, heard.url, KUDOS)
        changed = update(webhook, url=f"https://slow.test:{heard.port}/", label="new")
        edit = asyncio.ensure_future(it.webhooks.UpdateWebhook(changed, metadata=ANNA))
        await until(lambda: names.waiting)
        await tell(it, "job-1")
        await log_is(it, webhook, pb.DELIVERY_STATE_GIVEN_UP)
        names.answered.set()
        now = (await edit).webhook
        assert (now.label, now.enabled, now.disabled_because) == ("new", False, "Its address answered 410 Gone.")
        assert (await listed(it, webhook)).enabled is False


async def test_tests_are_bounded_by_account_by_network_and_in_the_log(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "MAX_TESTS", 2)
    release = asyncio.Event()

    async def hang(_: Call) -> bytes:
        await release.wait()
        return b"HTTP/1.1 204 OK\r\n\r\n"

    names = Names()
    names.addresses |= {f"eve-{number}.test": ["127.0.0.1"] for number in range(8)}
    async with receiver(None) as slow, receiver(authority) as heard, webhooks(tmp_path, authority, names=names) as it:
        slow.answer = hang
        eves = [visitor(f"eve-{number}", b"ne") for number in range(8)]
        # Accounts and hosts cost nothing: each has its own.
        theirs = [
            (eve, await create(it, f"http://eve-{number}.test:{slow.port}/", who=eve))
            for number, eve in enumerate(eves)
        ]
        webhook = await create(it, heard.url)
        refused: list[ServiceError] = []

        async def ask(eve: Any, webhook: pb.Webhook) -> None:
            try:
                await it.webhooks.TestWebhook(trial(webhook), metadata=eve)
            except ResourceExhausted as error:
                refused.append(error)

        asked = [asyncio.ensure_future(ask(*each)) for each in theirs]
        await until(lambda: len(refused) + slow.open == len(theirs))
        assert 1 <= slow.open <= 3
        # From elsewhere there is a place, and what happens is told whatever is tried.
        for _ in range(3):
            assert (await it.webhooks.TestWebhook(trial(webhook), metadata=visitor("anna", b"el"))).delivery.state == 2
        await tell(it, "job-1")
        await until(lambda: said(heard, "kudos.received"))
        release.set()
        await asyncio.gather(*asked)
        assert [each.event for each in await log_of(it, webhook)].count(pb.WEBHOOK_EVENT_TEST) == 2
        # Who was refused has no row of it.
        assert sum([len(await log_of(it, each, eve)) for eve, each in theirs]) == len(theirs) - len(refused)
        monkeypatch.setattr(hooks, "ACCOUNT_TRIES", Rate(1, 60))
        again = pb.RetryDeliveryRequest(
            webhook_id=webhook.webhook_id, delivery_id=(await log_of(it, webhook))[0].delivery_id
        )
        with assert_raises_reason(ResourceExhausted, "TOO_MANY_TRIES"):
            for _ in range(2):
                await it.webhooks.RetryDelivery(again, metadata=ANNA)


async def test_a_defect_in_a_call_is_one_try_that_failed(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: Any) -> int:
        raise RuntimeError("a defect")

    async with receiver(authority) as heard, webhooks(tmp_path, authority) as it:
        webhook = await create(it, heard.url, KUDOS)
        with monkeypatch.context() as broken:
            broken.setattr(Receivers, "post", fails)
            await tell(it, "job-1")
            await waits(it, webhook, 1)
            (delivery,) = await log_of(it, webhook)
        assert [each.error for each in delivery.tries] == ["It could not be called."]
        await tell(it, "job-2")
        await until(lambda: said(heard, "kudos.received"))


async def test_what_no_id_is_and_no_page_is_refused_before_anything_is_asked(
    tmp_path: Path, authority: Authority
) -> None:
    async with receiver(authority) as heard, webhooks(tmp_path, authority) as it:
        webhook = await create(it, heard.url)
        for name in ("a\0b", "x" * 100_000, webhook.webhook_id.upper()):
            with assert_raises_reason(NotFound, "WEBHOOK_NOT_FOUND"):
                await it.webhooks.TestWebhook(pb.TestWebhookRequest(webhook_id=name), metadata=ANNA)
            with assert_raises_reason(NotFound, "DELIVERY_NOT_FOUND"):
                retry = pb.RetryDeliveryRequest(webhook_id=webhook.webhook_id, delivery_id=name)
                await it.webhooks.RetryDelivery(retry, metadata=ANNA)
            await it.webhooks.DeleteWebhook(pb.DeleteWebhookRequest(webhook_id=name), metadata=ANNA)
        page = pb.ListDeliveriesRequest(webhook_id=webhook.webhook_id, page_token=write_place(10**30, "x"))
        with assert_raises_reason(InvalidArgument, "INVALID_FIELD"):
            await it.webhooks.ListDeliveries(page, metadata=ANNA)
        assert (await listed(it, webhook)).enabled


async def test_a_repeated_creation_answers_as_it_did_wherever_its_name_leads_by_now(
    tmp_path: Path, authority: Authority
) -> None:
    names = Names()
    async with receiver(authority) as heard, webhooks(tmp_path, authority, names=names) as it:
        request = pb.CreateWebhookRequest(
            request_id=str(uuid.uuid4()), url=f"https://hooks.test:{heard.port}/a;b=1;c?d;e", events=KUDOS,
            secret=f"whsec_{'A' * 44}",
        )  # fmt: skip
        webhook = (await it.webhooks.CreateWebhook(request, metadata=ANNA)).webhook
        await it.webhooks.TestWebhook(trial(webhook), metadata=ANNA)
        assert [call.path for call in heard.calls] == ["/a;b=1;c?d;e"]
        names.addresses["hooks.test"] = []
        assert (await it.webhooks.CreateWebhook(request, metadata=ANNA)).webhook.webhook_id == webhook.webhook_id
        request.request_id = request.request_id.upper()
        with assert_raises_reason(InvalidArgument, "INVALID_FIELD"):
            await it.webhooks.CreateWebhook(request, metadata=ANNA)


async def test_what_was_before_a_webhook_is_not_told_and_what_came_after_is_whatever_the_clocks_say(
    tmp_path: Path, authority: Authority
) -> None:
    async with receiver(authority) as heard, webhooks(tmp_path, authority) as it:
        await create(it, heard.url, who=visitor("bert"))
        await tell(it, "before")
        await create(it, heard.url)
        after = ended("g0", "after", payer="", owner="anna")
        after.created_at.FromDatetime(it.clock.now() - timedelta(hours=1))
        await it.ledger.enter(after)
        await until(lambda: said(heard, "kudos.received"))
        assert [told["event_id"] for told in said(heard, "kudos.received")] == ["after"]
        for name, days in (("old", 5), ("new", 0)):
            restriction = standing_pb2.Restriction(restriction_id=name, reason="noise")
            restriction.since.FromDatetime(it.clock.now() - timedelta(days=days))
            told = news_service_pb2.TellRestrictionRequest(owner_account_id="anna", restriction=restriction)
            await it.news.TellRestriction(told)
        await until(lambda: said(heard, "worker.restricted"))
        assert [told["restriction"]["restriction_id"] for told in said(heard, "worker.restricted")] == ["new"]
