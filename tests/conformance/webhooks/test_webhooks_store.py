"""What every store of webhooks must do: in SQLite, in PostgreSQL. None is ever skipped."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from horde.services.terms import Replaced
from horde.webhooks.core.deliveries import Delivery, Outcome, State, Try, delivery_of
from horde.webhooks.core.webhooks import Event, Webhook
from horde.webhooks.store.port import Heard, WebhookStore
from horde.webhooks.store.sealing import NotOpened
from horde.webhooks.store.sql import sql_store
from horde.webhooks.store.tables import microseconds

NOW = datetime(2026, 11, 26, 10, 2, 3, 456789, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgresql_url"))
    return f"sqlite:///{tmp_path / 'webhooks.sqlite'}"


@pytest_asyncio.fixture
async def store(url: str) -> AsyncIterator[WebhookStore]:
    async with sql_store(url) as opened:
        yield opened


def webhook(number: int = 1, account_id: str = "anna", **fields: Any) -> Webhook:
    made = Webhook(
        webhook_id=f"00000000-0000-4000-8000-{number:012}",
        account_id=account_id,
        request_id=f"request-{number}",
        asked='{"label":"☃"}',
        url="https://hooks.example/",
        label="☃",
        events=frozenset({Event.IMAGE_ENDED, Event.KUDOS_RECEIVED}),
        request_id_prefix="ab",
        secret=b"\x00\x01secret" * 4,
        created_at=NOW + timedelta(seconds=number),
    )
    return replace(made, **fields)


def delivery(number: int, of: Webhook, at: datetime = NOW) -> Delivery:
    made = delivery_of(of, Event.IMAGE_ENDED, f"job-{number}", f'{{"n":{number}}}', at)
    return replace(made, created_at=at, next_try_at=at)


async def change(store: WebhookStore, of: Webhook, sequence: int | None = None, **fields: Any) -> Webhook | None:
    return await store.change_webhook(
        of.account_id, of.webhook_id, lambda before: replace(before, **fields), sequence=sequence
    )


def nothing(disabled: Webhook, theirs: Sequence[Webhook]) -> Sequence[Delivery]:
    """Nobody is told of it."""
    return ()


async def keep(store: WebhookStore, told: Delivery, fields: dict[str, Any], **of_webhook: Any) -> Delivery | None:
    """Keep a try that changes these fields of the delivery, and of its webhook."""

    def decide(before: Delivery, of: Webhook) -> Outcome:
        return Outcome(replace(before, **fields), replace(of, **of_webhook))

    return await store.keep_try(told, decide, nothing)


async def test_what_is_kept_is_what_is_read(store: WebhookStore) -> None:
    full = webhook(
        2,
        old_secret=b"old",
        old_until=NOW,
        enabled=False,
        disabled_because="why",
        last_success_at=NOW,
        failing_since=NOW,
        after_sequence=1 << 40,
    )
    for each in (webhook(1), full):
        assert await store.add_webhook(each, 16, 7) == each
    assert await store.webhooks("anna") == [webhook(1), full]
    assert await store.webhook("anna", full.webhook_id) == full
    assert await store.webhook("bert", full.webhook_id) is None
    assert await store.enabled_of(["anna", "bert"]) == {"anna": [webhook(1)]}
    assert await store.enabled_of([]) == {}
    tries = (Try(NOW, timedelta(milliseconds=1500), 503), Try(NOW, timedelta(0), 0, "away ☃"))
    told = replace(delivery(1, webhook(1)), tries=tries, state=State.GIVEN_UP, next_try_at=None)
    await store.hear(Heard([told]))
    assert await store.delivery(webhook(1).webhook_id, told.delivery_id) == told
    assert await store.delivery(full.webhook_id, told.delivery_id) is None


async def test_the_same_request_finds_the_same_and_there_is_a_bound(store: WebhookStore) -> None:
    assert await store.add_webhook(webhook(1), 2, 7) == webhook(1)
    again = webhook(9, request_id="request-1", label="other")
    assert await store.add_webhook(again, 2, 7) == webhook(1)
    assert await store.add_webhook(webhook(2), 2, 7) == webhook(2)
    assert await store.add_webhook(webhook(3), 2, 7) is None
    assert await store.add_webhook(webhook(1), 2, 7) == webhook(1)
    assert await store.add_webhook(webhook(4, "bert"), 2, 7) == webhook(4, "bert")


async def test_the_feed_begins_with_the_first_and_stops_when_none_is_enabled(store: WebhookStore) -> None:
    assert await store.feed_place() is None
    await store.add_webhook(webhook(1), 16, 7)
    await store.add_webhook(webhook(2), 16, 9)
    assert await store.feed_place() == 7
    await store.hear(Heard(sequence=12))
    await store.hear(Heard(sequence=11))
    assert await store.feed_place() == 12
    await store.delete_webhook("anna", webhook(1).webhook_id)
    assert not await store.stop_feed()
    await change(store, webhook(2), enabled=False)
    assert await store.stop_feed()
    assert await store.feed_place() is None
    await change(store, webhook(2), sequence=40)
    assert await store.feed_place() is None
    await change(store, webhook(2), sequence=40, enabled=True)
    assert await store.feed_place() == 40


async def test_what_is_due_is_found_by_account_the_earliest_first(store: WebhookStore) -> None:
    mine, other = webhook(1), webhook(2, "bert")
    await store.add_webhook(mine, 16, 0)
    await store.add_webhook(other, 16, 0)
    told = [delivery(number, mine, NOW + timedelta(seconds=9 - number)) for number in range(5)]
    await store.hear(Heard([*told, delivery(9, other)]))
    await store.hear(Heard(told))
    assert await store.due_accounts() == {"anna": NOW + timedelta(seconds=5), "bert": NOW}
    assert await store.due("anna", 2) == [(told[4], mine), (told[3], mine)]
    done: dict[str, Any] = {"state": State.DELIVERED, "next_try_at": None, "tries": (Try(NOW, timedelta(0), 200),)}
    assert await keep(store, told[4], done, last_success_at=NOW) == replace(told[4], **done)
    assert [each for each, _ in await store.due("anna", 9)] == [told[3], told[2], told[1], told[0]]
    assert await store.webhook("anna", mine.webhook_id) == replace(mine, last_success_at=NOW)


@pytest.mark.parametrize("end", ["disabled", "deleted", "found gone"])
async def test_what_waits_for_a_webhook_that_ends_is_given_up_and_nothing_new_waits(
    store: WebhookStore, end: str
) -> None:
    mine = webhook(1)
    await store.add_webhook(mine, 16, 0)
    first, second, third = delivery(1, mine), delivery(2, mine), delivery(3, mine)
    await store.hear(Heard([first, third]))
    if end == "deleted":
        await store.delete_webhook("anna", mine.webhook_id)
    elif end == "disabled":
        await change(store, mine, enabled=False, disabled_because="by hand")
    else:
        given_up = {"state": State.GIVEN_UP, "next_try_at": None}
        await keep(store, first, given_up, enabled=False, disabled_because="410")
    assert await store.due_accounts() == {}
    # It was being called all the while, and something new came.
    kept = await keep(store, third, {"tries": (Try(NOW, timedelta(0), 503),)}, failing_since=NOW)
    assert (kept is None) == (end == "deleted")
    assert kept is None or kept.state is State.GIVEN_UP
    await store.hear(Heard([second]))
    assert await store.due_accounts() == {}
    assert await store.due("anna", 9) == []


async def test_what_is_changed_is_what_is_there_then_and_nothing_else_of_it(store: WebhookStore) -> None:
    mine = webhook(1)
    await store.add_webhook(mine, 16, 0)
    told = delivery(1, mine)
    await store.hear(Heard([told]))
    await keep(store, told, {"tries": (Try(NOW, timedelta(0), 503),)}, enabled=False, disabled_because="410")
    # Both were read before: an owner changes the label, and what was called twice was answered the second time.
    changed = await change(store, mine, label="new")
    assert changed == replace(mine, label="new", enabled=False, disabled_because="410")
    assert await store.webhook("anna", mine.webhook_id) == changed
    seen: list[Delivery] = []

    def decide(before: Delivery, of: Webhook) -> Outcome:
        seen.append(before)
        return Outcome(before, of)

    await store.keep_try(told, decide, nothing)
    assert [each.tries for each in seen] == [(Try(NOW, timedelta(0), 503),)]
    assert await change(store, webhook(2)) is None
    assert await store.change_webhook("bert", mine.webhook_id, lambda before: before) is None


async def test_a_notice_is_kept_with_the_try_that_made_it(store: WebhookStore) -> None:
    mine, other = webhook(1), webhook(2)
    await store.add_webhook(mine, 16, 0)
    await store.add_webhook(other, 16, 0)
    told, notice = delivery(1, mine), delivery(2, other)
    await store.hear(Heard([told]))
    gone = replace(mine, enabled=False)

    def tell(disabled: Webhook, theirs: Sequence[Webhook]) -> Sequence[Delivery]:
        assert (disabled, list(theirs)) == (gone, [gone, other])
        return [notice]

    await store.keep_try(told, lambda before, of: Outcome(replace(before, next_try_at=None), gone), tell)
    assert await store.due("anna", 9) == [(notice, other)]
    asked: list[Webhook] = []

    def ask(disabled: Webhook, theirs: Sequence[Webhook]) -> Sequence[Delivery]:
        asked.append(disabled)
        return ()

    disabled = replace(other, enabled=False)
    for _ in range(2):
        await store.change_webhook("anna", other.webhook_id, lambda _: disabled, notices=ask)
    assert asked == [disabled]
    assert await store.due("anna", 9) == []


async def test_of_tests_the_newest_stay(store: WebhookStore) -> None:
    mine = webhook(1)
    await store.add_webhook(mine, 16, 0)
    await store.hear(Heard([delivery(9, mine)]))
    tests = [
        replace(delivery_of(mine, Event.TEST, "t", "{}", NOW + timedelta(seconds=n), once=str(n)), next_try_at=None)
        for n in range(4)
    ]
    for made in tests:
        await store.add_test(made, 2)
    assert await store.deliveries(mine.webhook_id, 9, None) == [tests[3], tests[2], delivery(9, mine)]


async def test_who_was_replaced_writes_nothing_any_more(store: WebhookStore, url: str) -> None:
    mine = webhook(1)
    await store.add_webhook(mine, 16, 0)
    await store.hear(Heard([delivery(1, mine)]))
    async with sql_store(url) as other:
        with pytest.raises(Replaced):
            await keep(store, delivery(1, mine), {"next_try_at": None})
        for write in (store.hear(Heard([delivery(2, mine)])), store.delete_webhook("anna", mine.webhook_id)):
            with pytest.raises(Replaced):
                await write
        await other.hear(Heard([delivery(3, mine)]))
        assert len(await store.due("anna", 9)) == 2


async def test_the_log_has_pages_newest_first(store: WebhookStore) -> None:
    mine = webhook(1)
    await store.add_webhook(mine, 16, 0)
    told = [delivery(number, mine, NOW + timedelta(seconds=number // 2)) for number in range(6)]
    await store.hear(Heard(told))
    found: list[Delivery] = []
    before = None
    while page := await store.deliveries(mine.webhook_id, 2, before):
        found += page
        before = (microseconds(page[-1].created_at), page[-1].delivery_id)
    assert found == sorted(told, key=lambda each: (each.created_at, each.delivery_id), reverse=True)


async def test_generations_are_watched_until_they_are_over(store: WebhookStore) -> None:
    await store.hear(Heard(watched={"g1": "anna", "g2": "bert"}))
    await store.hear(Heard(watched={"g2": "bert", "g3": "bert"}, over=["g1", "g9"]))
    assert await store.watched(9, 9) == {"g2": "bert", "g3": "bert"}
    assert len(await store.watched(1, 9)) == 1


async def test_of_those_who_have_much_to_watch_nobody_hides_the_others(store: WebhookStore) -> None:
    many = {f"a{number}": "anna" for number in range(9)}
    await store.hear(Heard(watched=many | {"g1": "bert", "g2": "cleo", "g3": "cleo"}))
    assert Counter((await store.watched(9, 2)).values()) == {"anna": 2, "bert": 1, "cleo": 2}
    assert Counter((await store.watched(3, 9)).values()) == {"anna": 1, "bert": 1, "cleo": 1}
    assert Counter((await store.watched(9, 4, ["anna", "bert"])).values()) == {"anna": 4, "bert": 1}
    assert await store.watched(9, 9, []) == {}


async def test_secrets_are_renewed_all_or_none(store: WebhookStore) -> None:
    kept = webhook(1, old_secret=b"old")
    for added in (kept, webhook(2, "bert", enabled=False)):
        await store.add_webhook(added, 16, 7)

    def fails(secret: bytes) -> bytes:
        raise NotOpened(secret.hex())

    with pytest.raises(NotOpened):
        await store.renew_secrets(fails)
    assert await store.webhooks("anna") == [kept]
    await store.renew_secrets(lambda secret: secret[::-1])
    assert await store.webhooks("anna") == [replace(kept, secret=kept.secret[::-1], old_secret=b"dlo")]
    (bert,) = await store.webhooks("bert")
    assert bert.secret == kept.secret[::-1]


async def test_the_fullest_of_an_account_with_too_much_is_named(store: WebhookStore) -> None:
    mine, other = webhook(1), webhook(2)
    for each in (mine, other, webhook(3, "bert")):
        await store.add_webhook(each, 16, 0)
    await store.hear(Heard([delivery(1, mine), *(delivery(number, other) for number in range(3))]))
    assert await store.overfull(["anna", "bert"], 4) == []
    assert await store.overfull(["anna", "bert"], 3) == [other]


async def test_the_log_is_swept_by_age_and_after_its_webhook(store: WebhookStore) -> None:
    mine, other = webhook(1), webhook(2)
    await store.add_webhook(mine, 16, 0)
    await store.add_webhook(other, 16, 0)
    old = [delivery(number, mine, NOW - timedelta(days=8)) for number in range(3)]
    new = [delivery(number, mine) for number in range(3, 5)]
    theirs = [delivery(number, other) for number in range(3)]
    await store.hear(Heard([*old, *new, *theirs]))
    week = NOW - timedelta(days=7)
    assert await store.sweep(week, 2) == 2
    assert await store.sweep(week, 2) == 1
    assert await store.sweep(week, 2) == 0
    await store.delete_webhook("anna", other.webhook_id)
    assert await store.webhook("anna", other.webhook_id) is None
    assert [await store.sweep(week, 2) for _ in range(3)] == [2, 1, 0]
    assert len(await store.deliveries(mine.webhook_id, 9, None)) == 2
    assert await store.deliveries(other.webhook_id, 9, None) == []


async def test_an_account_is_forgotten_a_few_at_a_time_and_nobody_else(store: WebhookStore) -> None:
    mine, other = webhook(1), webhook(2, "bert")
    await store.add_webhook(mine, 16, 0)
    await store.add_webhook(other, 16, 0)
    await store.hear(Heard([delivery(n, mine) for n in range(3)], {"g1": "anna", "g2": "bert"}))
    await store.hear(Heard([delivery(9, other)]))
    assert await store.forget("anna", 2) == 1
    assert await store.forget("anna", 2) == 0
    assert await store.forget("anna", 2) == 0
    assert await store.webhooks("anna") == []
    assert await store.watched(9, 9) == {"g2": "bert"}
    assert [each for each, _ in await store.due("bert", 9)] == [delivery(9, other)]
    assert await store.due_accounts() == {"bert": NOW}
