"""What somebody names is looked at when it is given: a field that is wrong, or an address that nobody calls."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.service.reasons.webhook_reasons import ANNA, created

from horde.api.webhook.v1 import webhook_service_pb2 as pb
from horde.services.errors import FailedPrecondition, InvalidArgument, Unauthenticated
from horde.testkit.certificates import Authority
from horde.testkit.loopback import assert_raises_reason
from horde.testkit.webhooks import Names, webhooks

NAMES = {
    "inside.test": ["10.0.0.1"],
    "half.test": ["8.8.8.8", "192.168.0.1"],
    "mapped.test": ["::ffff:169.254.169.254"],
    "translated.test": ["64:ff9b::a00:1"],
    "local.test": ["fe80::1"],
    "nowhere.test": [],
    "public.test": ["8.8.8.8"],
}


@pytest.mark.parametrize(
    "url",
    [
        *(f"https://{name}/" for name in NAMES if name != "public.test"),
        "https://127.0.0.1/",
        "https://[::1]:7703/",
        "https://[::ffff:7f00:1]/",
        "http://public.test/",
        "http://8.8.8.8/",
    ],
)
async def test_an_address_that_is_not_public_or_not_safe_is_refused(url: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    async with webhooks(tmp_path, authority, names=Names(dict(NAMES)), own_networks="") as it:
        with assert_raises_reason(FailedPrecondition, "ADDRESS_NOT_ALLOWED"):
            await it.webhooks.CreateWebhook(created(url), metadata=ANNA)
        known = (await it.webhooks.CreateWebhook(created("https://public.test/"), metadata=ANNA)).webhook
        with assert_raises_reason(FailedPrecondition, "ADDRESS_NOT_ALLOWED"):
            changed = pb.UpdateWebhookRequest(webhook_id=known.webhook_id, url=url)
            await it.webhooks.UpdateWebhook(changed, metadata=ANNA)
        assert len((await it.webhooks.ListWebhooks(pb.ListWebhooksRequest(), metadata=ANNA)).webhooks) == 1


async def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    async with webhooks(tmp_path, Authority(tmp_path / "authority")) as it:
        request = pb.CreateWebhookRequest(
            request_id="1", url="ftp://x", label="x" * 65, request_id_prefix="y" * 37, secret="z",
            events=[pb.WEBHOOK_EVENT_TEST, 99],  # type: ignore[list-item]
        )  # fmt: skip
        with assert_raises_reason(InvalidArgument, "INVALID_FIELD") as caught:
            await it.webhooks.CreateWebhook(request, metadata=ANNA)
        assert {violation.field for violation in caught.value.violations} == {
            "request_id", "url", "label", "request_id_prefix", "secret", "events[0]", "events[1]"
        }  # fmt: skip


async def test_a_call_for_nobody_is_refused(tmp_path: Path) -> None:
    async with webhooks(tmp_path, Authority(tmp_path / "authority")) as it:
        with pytest.raises(Unauthenticated):
            await it.webhooks.ListWebhooks(pb.ListWebhooksRequest())
