"""Secrets lie sealed in the database; keys are changed without a delivery that is signed with another secret."""

from __future__ import annotations

import base64
import secrets
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook as Verifier
from tests.service.webhooks.test_telling import SECRET, create

from horde.api.webhook.v1 import webhook_service_pb2 as pb
from horde.services.clock import SystemClock
from horde.services.lifecycle import CannotStart
from horde.testkit.certificates import Authority
from horde.testkit.webhooks import receiver, visitor, webhooks
from horde.webhooks.store.sealing import NotOpened, Seals, load_seals

RAW = base64.b64decode(SECRET.removeprefix("whsec_"))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


def database(folder: Path) -> Path:
    return folder / "webhooks" / "webhooks.sqlite"


def kept(folder: Path) -> list[bytes]:
    with closing(sqlite3.connect(database(folder))) as connection:
        return [row[0] for row in connection.execute("select secret from webhook")]


async def signs(folder: Path, authority: Authority, webhook_id: str = "") -> str:
    """A webhook, which is made where there is none, signs with its secret."""
    async with receiver(authority) as heard, webhooks(folder, authority, clock=SystemClock()) as it:
        if not webhook_id:
            webhook_id = (await create(it, heard.url)).webhook_id
        update = pb.UpdateWebhookRequest(webhook_id=webhook_id, url=heard.url)
        await it.webhooks.UpdateWebhook(update, metadata=visitor())
        await it.webhooks.TestWebhook(pb.TestWebhookRequest(webhook_id=webhook_id), metadata=visitor())
        Verifier(SECRET).verify(heard.calls[-1].body, heard.calls[-1].headers)
    return webhook_id


async def test_nothing_in_the_database_signs(tmp_path: Path, authority: Authority) -> None:
    await signs(tmp_path, authority)
    files = b"".join(path.read_bytes() for path in database(tmp_path).parent.glob("webhooks.sqlite*"))
    assert RAW not in files
    assert SECRET.encode() not in files
    assert (database(tmp_path).parent / "secrets-key").stat().st_mode & 0o777 == 0o600


async def test_what_was_kept_before_anything_was_sealed_is_sealed_at_the_next_start(
    tmp_path: Path, authority: Authority
) -> None:
    webhook_id = await signs(tmp_path, authority)
    with closing(sqlite3.connect(database(tmp_path))) as connection, connection:
        connection.execute("update webhook set secret = ?", [RAW])
    await signs(tmp_path, authority, webhook_id)
    assert RAW not in kept(tmp_path)


async def test_a_key_is_changed_by_a_new_first_line(tmp_path: Path, authority: Authority) -> None:
    webhook_id = await signs(tmp_path, authority)
    file = database(tmp_path).parent / "secrets-key"
    old, new = file.read_text(), secrets.token_hex(32)
    file.write_text(f"{new}\n{old}\n")
    await signs(tmp_path, authority, webhook_id)
    file.write_text(new)
    await signs(tmp_path, authority, webhook_id)
    file.write_text(old)
    with pytest.raises(CannotStart):
        await signs(tmp_path, authority, webhook_id)


def test_only_keys_are_taken_for_keys(tmp_path: Path) -> None:
    for number, text in enumerate(("", "no key", "ab" * 31, f"{'ab' * 32} {'cd' * 31}")):
        file = tmp_path / str(number)
        file.touch(mode=0o600)
        file.write_text(text)
        with pytest.raises(CannotStart):
            load_seals(file)


def test_what_another_key_has_sealed_is_not_opened() -> None:
    sealed = Seals([b"a" * 32]).seal(RAW)
    assert Seals([b"b" * 32, b"a" * 32]).open(sealed) == RAW
    with pytest.raises(NotOpened):
        Seals([b"b" * 32]).renewed(sealed)
    assert Seals([b"a" * 32]).renewed(sealed) == sealed
