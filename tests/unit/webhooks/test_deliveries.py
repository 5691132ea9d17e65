"""Signing, trying again, giving up, and whose turn it is."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from horde.webhooks.core.deliveries import GIVES_UP, PAUSES, Delivery, State, Try, delivery_of, tried
from horde.webhooks.core.signing import BadSecret, headers, secret_of
from horde.webhooks.core.turns import Turns
from horde.webhooks.core.webhooks import Event, Webhook

NOW = datetime(2026, 11, 26, 10, tzinfo=UTC)
SECRET, OTHER = (f"whsec_{base64.b64encode(bytes([n]) * 32).decode()}" for n in (1, 2))


def webhook(**fields: object) -> Webhook:
    made = Webhook(
        webhook_id="00000000-0000-4000-8000-000000000001",
        account_id="anna",
        request_id="r",
        asked="{}",
        url="https://hooks.example/",
        label="",
        events=frozenset({Event.IMAGE_ENDED}),
        request_id_prefix="",
        secret=secret_of(SECRET),
        created_at=NOW,
    )
    return replace(made, **fields)  # type: ignore[arg-type]


def delivery() -> Delivery:
    return delivery_of(webhook(), Event.IMAGE_ENDED, "job-1", "{}", NOW)


def test_another_implementation_finds_the_signature_right_and_nothing_else() -> None:
    body = json.dumps({"type": "image.ended", "data": {"job_id": "☃"}}, ensure_ascii=False).encode()
    at = int(datetime.now(UTC).timestamp())
    told = headers("msg-1", at, body, [secret_of(SECRET)])
    Verifier(SECRET).verify(body, told)
    with pytest.raises(WebhookVerificationError):
        Verifier(SECRET).verify(body + b" ", told)
    with pytest.raises(WebhookVerificationError):
        Verifier(OTHER).verify(body, told)


def test_while_a_secret_is_changed_either_finds_it_right_and_a_day_later_the_new_one_alone() -> None:
    changing = webhook(secret=secret_of(OTHER), old_secret=secret_of(SECRET), old_until=NOW + timedelta(days=1))
    at = int(datetime.now(UTC).timestamp())
    both = headers("msg-1", at, b"{}", changing.secrets(NOW))
    Verifier(SECRET).verify(b"{}", both)
    Verifier(OTHER).verify(b"{}", both)
    later = headers("msg-1", at, b"{}", changing.secrets(NOW + timedelta(days=1)))
    Verifier(OTHER).verify(b"{}", later)
    with pytest.raises(WebhookVerificationError):
        Verifier(SECRET).verify(b"{}", later)


@pytest.mark.parametrize(
    "text",
    ["", "whsec_", "hello", "whsec_!!!!", f"whsec_{base64.b64encode(bytes(23)).decode()}",
     f"whsec_{base64.b64encode(bytes(65)).decode()}", SECRET.removeprefix("whsec_"), SECRET + "\n"],
)  # fmt: skip
def test_what_is_no_secret_is_refused(text: str) -> None:
    with pytest.raises(BadSecret):
        secret_of(text)


@given(st.floats(0, 1), st.sampled_from([0, 301, 404, 429, 500, 503]))
def test_what_fails_is_tried_again_as_the_contract_says_and_then_given_up(chance: float, status: int) -> None:
    found, at = delivery(), NOW
    # Others go through meanwhile, or the webhook would be disabled.
    for pause in PAUSES:
        found = tried(found, webhook(), Try(at, timedelta(seconds=1), status), lambda: chance).delivery
        assert found.state is State.PENDING
        assert found.next_try_at is not None
        waited = found.next_try_at - at - timedelta(seconds=1)
        assert 0.8 * pause <= waited <= 1.2 * pause + timedelta(microseconds=1)
        at = found.next_try_at
    found = tried(found, webhook(), Try(at, timedelta(seconds=1), status), lambda: chance).delivery
    assert (found.state, found.next_try_at, len(found.tries)) == (State.GIVEN_UP, None, len(PAUSES) + 1)


@pytest.mark.parametrize("status", [200, 202, 204, 299])
def test_two_hundreds_are_an_answer_and_end_what_failed(status: int) -> None:
    outcome = tried(delivery(), webhook(failing_since=NOW), Try(NOW, timedelta(0), status), lambda: 0.5)
    assert (outcome.delivery.state, outcome.delivery.next_try_at) == (State.DELIVERED, None)
    assert (outcome.webhook.failing_since, outcome.webhook.last_success_at) == (None, NOW)


def test_gone_disables_at_once_and_five_days_without_success_do() -> None:
    gone = tried(delivery(), webhook(), Try(NOW, timedelta(0), 410), lambda: 0.5)
    assert (gone.webhook.enabled, gone.delivery.state) == (False, State.GIVEN_UP)
    assert "410" in gone.webhook.disabled_because
    still = tried(
        delivery(),
        webhook(failing_since=NOW - GIVES_UP + timedelta(seconds=1)),
        Try(NOW, timedelta(0), 500),
        lambda: 0.5,
    )
    assert still.webhook.enabled
    over = tried(delivery(), webhook(failing_since=NOW - GIVES_UP), Try(NOW, timedelta(0), 500), lambda: 0.5)
    assert (over.webhook.enabled, over.delivery.next_try_at) == (False, None)
    assert "5 days" in over.webhook.disabled_because


def test_what_was_answered_meanwhile_is_answered_and_is_not_called_again() -> None:
    done = replace(delivery(), state=State.DELIVERED, next_try_at=None, tries=(Try(NOW, timedelta(0), 204),))
    for asked in (False, True):
        found = tried(done, webhook(), Try(NOW, timedelta(0), 503), lambda: 0.5, asked=asked).delivery
        assert (found.state, found.next_try_at) == (State.DELIVERED, None)
        assert [attempt.http_status for attempt in found.tries] == [204, 503]
    given_up = replace(delivery(), state=State.GIVEN_UP, next_try_at=None)
    assert tried(given_up, webhook(), Try(NOW, timedelta(0), 503), lambda: 0.5).delivery.next_try_at is None
    assert tried(given_up, webhook(), Try(NOW, timedelta(0), 204), lambda: 0.5).delivery.state is State.DELIVERED


def test_a_webhook_that_was_answered_just_now_is_not_disabled_for_what_failed_before() -> None:
    answered = webhook(last_success_at=NOW, failing_since=None)
    found = tried(delivery(), answered, Try(NOW, timedelta(seconds=9), 503), lambda: 0.5).webhook
    assert (found.enabled, found.last_success_at, found.failing_since) == (True, NOW, NOW)


def test_what_the_former_address_answers_says_nothing_of_the_new_one() -> None:
    moved = webhook(url="https://new.example/", failing_since=NOW - GIVES_UP)
    for status in (204, 410, 503):
        outcome = tried(delivery(), moved, Try(NOW, timedelta(0), status), lambda: 0.5, url="https://hooks.example/")
        assert outcome.webhook == moved


def test_a_try_that_was_asked_for_changes_nothing_if_it_fails() -> None:
    failing = webhook(failing_since=NOW - GIVES_UP)
    due = replace(delivery(), next_try_at=NOW + timedelta(hours=1))
    outcome = tried(due, failing, Try(NOW, timedelta(0), 410), lambda: 0.5, asked=True)
    assert outcome.webhook == failing
    assert (outcome.delivery.state, outcome.delivery.next_try_at) == (State.PENDING, due.next_try_at)


def test_the_same_thing_has_one_id_and_another_has_another() -> None:
    same = {delivery().delivery_id, delivery_of(webhook(), Event.IMAGE_ENDED, "job-1", "x", NOW).delivery_id}
    assert len(same) == 1
    others = {
        delivery_of(webhook(), Event.IMAGE_ENDED, "job-2", "", NOW).delivery_id,
        delivery_of(webhook(), Event.KUDOS_RECEIVED, "job-1", "", NOW).delivery_id,
        delivery_of(webhook(), Event.IMAGE_ENDED, "job-1", "", NOW, once="2").delivery_id,
    }
    assert len(same | others) == 4


def test_a_webhook_wants_its_kinds_and_generations_by_their_request() -> None:
    mine = webhook(events=frozenset({Event.IMAGE_ENDED, Event.KUDOS_RECEIVED}), request_id_prefix="ab")
    assert mine.wants(Event.IMAGE_ENDED, "abc")
    assert not mine.wants(Event.IMAGE_ENDED, "bc")
    assert mine.wants(Event.KUDOS_RECEIVED)
    assert not mine.wants(Event.GENERATION_FINISHED, "abc")
    assert not replace(mine, enabled=False).wants(Event.KUDOS_RECEIVED)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9))), st.integers(0, 9))
def test_turns_come_by_when_they_are_due_and_each_account_once(put: list[tuple[str, int]], now: int) -> None:
    turns, earliest = Turns(), dict[str, int]()
    for account, at in put:
        turns.put(account, NOW + timedelta(seconds=at))
        earliest[account] = min(at, earliest.get(account, at))
    taken = []
    while (account_id := turns.take(NOW + timedelta(seconds=now))) is not None:
        taken.append(account_id)
    assert sorted(taken) == sorted(account for account, at in earliest.items() if at <= now)
    assert [earliest[account] for account in taken] == sorted(earliest[account] for account in taken)
    assert len(turns) == len(earliest) - len(taken)
