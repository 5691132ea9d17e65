"""Somebody leaves a running mesh: what was theirs is gone from every service, and everybody else's is where it was."""

from __future__ import annotations

import sqlite3

import pytest
from tests.mesh.probing import (
    PRIVATE,
    SHARED,
    Books,
    Buckets,
    assert_done_and_paid,
    eventually,
    png,
    rich_account,
    small,
)

from horde.api.generation.v1.generation_pb2 import Generation
from horde.api.ledger.v1.ledger_pb2 import LedgerAccountKind
from horde.cli.local.mesh import LocalMesh
from horde.clients.client import HordeClient
from horde.clients.errors import AccountBusy, ApiKeyUnknown, ExportRequired, GenerationNotFinished, GenerationNotFound

pytestmark = pytest.mark.asyncio(loop_scope="module")
SECRET = "a secret wish"  # a prompt


async def painted(horde: HordeClient, prompt: str, **options: object) -> tuple[Generation, bytes]:
    """A finished generation of one image, and its bytes."""
    made = await horde.generations.create(small(prompt, **options))
    done = await horde.generations.finish(made.generation_id)
    return done, await horde.images.fetch_from(done, done.images[0].job_id)


def rests_of(mesh: LocalMesh, *words: str) -> list[str]:
    """Databases of the mesh that still hold one of these words."""
    found = []
    for path in mesh.layout.state.rglob("*"):
        if path.suffix not in (".sqlite", ".sqlite3", ".db"):
            continue
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
            dump = "\n".join(database.iterdump())
        found += [f"{path.name}: {word}" for word in words if word in dump or word.encode().hex().upper() in dump]
    return found


def inputs_of(mesh: LocalMesh) -> list[str]:
    """The inputs that storage holds, of anybody."""
    return [each.name for each in Buckets(mesh).private if each.name.startswith("inputs/")]


async def test_a_deleted_generation_leaves_neither_bytes_nor_words(
    mesh: LocalMesh, books: Books, account: HordeClient
) -> None:
    private, content = await painted(account, SECRET)
    shared, given = await painted(account, SECRET, share=True)
    assert (Buckets(mesh).where(content), Buckets(mesh).where(given)) == ([PRIVATE], [SHARED])
    assert rests_of(mesh, SECRET)
    waiting = await account.generations.create(small("wait", model="nobody-has-it", wait_for_model=True))
    with pytest.raises(GenerationNotFinished):
        await account.generations.delete(waiting.generation_id)
    await account.generations.cancel(waiting.generation_id)
    for generation in (private, shared):
        for _ in range(2):
            await account.generations.delete(generation.generation_id)
        with pytest.raises(GenerationNotFound):
            await account.generations.get(generation.generation_id)
    await eventually(lambda: not Buckets(mesh).where(content) and not Buckets(mesh).where(given), "no bytes")
    await eventually(lambda: not rests_of(mesh, SECRET), "no words")
    await assert_done_and_paid(books, private)


async def test_an_account_leaves_and_nobody_else_does(mesh: LocalMesh, books: Books, account: HordeClient) -> None:
    his, kept = await painted(account, "somebody else's")
    async with rich_account(mesh, "Änne Leaves") as anna:
        mine = (await anna.accounts.show()).account.account_id
        _, private = await painted(anna, "mine alone")
        _, given = await painted(anna, "for everybody", share=True)
        await anna.images.put(png(colour="teal"))
        assert inputs_of(mesh)
        waiting = await anna.generations.create(small("open", model="nobody-has-it", wait_for_model=True))
        export = anna.accounts.export()
        kinds = [item.kind.rpartition(".")[2] async for item in export]
        assert kinds.count("Generation") == 3
        with pytest.raises(ExportRequired):
            await anna.accounts.delete("")
        with pytest.raises(AccountBusy):
            await anna.accounts.delete(export.export_id)
        await anna.generations.cancel(waiting.generation_id)
        await anna.generations.finish(waiting.generation_id)
        gone = await anna.accounts.delete(export.export_id)
        assert (gone.generations, gone.images, gone.images_withdrawn) == (3, 1, 0)
        assert gone.burned_mkudos > 0
        assert await anna.accounts.delete(export.export_id) == gone
        with pytest.raises(ApiKeyUnknown):
            await anna.accounts.show()
    await eventually(lambda: not Buckets(mesh).where(private), "no private bytes")
    await eventually(lambda: not rests_of(mesh, "Änne Leaves", "mine alone"), "no words")
    await eventually(lambda: not inputs_of(mesh), "no inputs")
    assert Buckets(mesh).where(given) == [SHARED]
    assert Buckets(mesh).where(kept) == [PRIVATE]
    assert (await account.generations.get(his.generation_id)).finished
    for kind in (LedgerAccountKind.LEDGER_ACCOUNT_KIND_SPEND, LedgerAccountKind.LEDGER_ACCOUNT_KIND_ESCROW):
        assert (await books.balance(kind, mine)).posted_mkudos == 0
    burned = await books.balance(LedgerAccountKind.LEDGER_ACCOUNT_KIND_FORFEIT_BURN)
    assert burned.posted_mkudos == gone.burned_mkudos
    await books.assert_balanced()
