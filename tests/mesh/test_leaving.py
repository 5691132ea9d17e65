"""Somebody leaves a running mesh: what was theirs is gone from every service, and everybody else's is where it was."""

from __future__ import annotations

import sqlite3
from pathlib import Path

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
    scripted,
    small,
)

from horde.api.account.v1.account_service_pb2 import API_KEY_SCOPE_WORK
from horde.api.generation.v1.generation_pb2 import Generation
from horde.api.ledger.v1.ledger_pb2 import LedgerAccountKind
from horde.api.moderation.v1.moderation_service_pb2 import REPORT_REASON_OTHER
from horde.cli.local.mesh import LocalMesh
from horde.clients.client import HordeClient
from horde.clients.errors import (
    AccountBusy,
    ApiKeyUnknown,
    ExportRequired,
    FailedPrecondition,
    GenerationNotFinished,
    GenerationNotFound,
    NotFound,
)
from horde.testkit.waiting import until_told

pytestmark = pytest.mark.asyncio(loop_scope="module")
SECRET = "a secret wish"  # a prompt
REPORTED = "annes own words"  # of a report
WORKER = "annes-rig"
BEHAVIOUR = {"scheduler.strike", "curation.rating", "curation.rater"}  # tables


async def painted(horde: HordeClient, prompt: str, **options: object) -> tuple[Generation, bytes]:
    """A finished generation of one image, and its bytes."""
    made = await horde.generations.create(small(prompt, **options))
    done = await horde.generations.finish(made.generation_id)
    return done, await horde.images.fetch_from(done, done.images[0].job_id)


def databases_of(mesh: LocalMesh) -> list[Path]:
    """The files of all databases of the mesh."""
    return [path for path in mesh.layout.state.rglob("*") if path.suffix in (".sqlite", ".sqlite3", ".db")]


def rests_of(mesh: LocalMesh, *words: str) -> list[str]:
    """Databases of the mesh that still hold one of these words."""
    found = []
    for path in databases_of(mesh):
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
            dump = "\n".join(database.iterdump())
        found += [f"{path.name}: {word}" for word in words if word in dump or word.encode().hex().upper() in dump]
    return found


def inputs_of(mesh: LocalMesh) -> list[str]:
    """The inputs that storage holds, of anybody."""
    return [file.name for file in Buckets(mesh).private if file.name.startswith("inputs/")]


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


def tables_about(mesh: LocalMesh, word: str) -> set[str]:
    """Tables of any service's database that hold a word."""
    found = set()
    for path in databases_of(mesh):
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
            rows = [line for line in database.iterdump() if line.startswith("INSERT") and word in line]
        found |= {path.parent.name + "." + row.split('"')[1] for row in rows}
    return found


async def report_and_rate(mesh: LocalMesh, anna: HordeClient) -> None:
    """Say something about pictures that somebody else shares."""
    async with mesh.client() as nobody:
        shared = [(await painted(nobody, f"a red door {number}"))[0].images[0].job_id for number in range(2)]

    async def reported() -> bool:
        try:
            await anna.moderation.report(shared[0], REPORT_REASON_OTHER, REPORTED)
        except NotFound:
            return False
        return True

    async def rated() -> bool:
        try:
            image = await anna.ratings.next()
            await anna.ratings.rate(image.image_id, 7)
        except (NotFound, FailedPrecondition):
            return False
        return True

    await until_told(reported)
    await until_told(rated)


async def lend_and_fail(mesh: LocalMesh, anna: HordeClient, asker: HordeClient, folder: Path) -> None:
    """Have a worker of hers fail until that is held against it, and end it."""
    opened = await anna.accounts.create_key("for a worker", [API_KEY_SCOPE_WORK])
    key = folder / "worker.key"
    key.touch(0o600)
    key.write_text(opened.api_key)
    worker = await mesh.start_worker(scripted(WORKER, API_KEY_FILE=str(key)))

    async def struck() -> bool:
        await painted(asker, f"[fail@{WORKER}]", count=4)
        return bool([strike async for strike in anna.standings.strikes()])

    await until_told(struck)
    await worker.stop(10.0)


async def test_an_account_leaves_and_nobody_else_does(
    mesh: LocalMesh, books: Books, account: HordeClient, tmp_path: Path
) -> None:
    his, kept = await painted(account, "somebody else's")
    async with rich_account(mesh, "Änne Leaves") as anna:
        mine = (await anna.accounts.show()).account.account_id
        await report_and_rate(mesh, anna)
        await lend_and_fail(mesh, anna, account, tmp_path)
        await eventually(lambda: tables_about(mesh, mine) >= BEHAVIOUR, "what it did is written")
        assert rests_of(mesh, REPORTED)
        assert tables_about(mesh, WORKER) >= {"scheduler.strike", "scheduler.worker"}
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
    await eventually(lambda: not rests_of(mesh, "Änne Leaves", "mine alone", REPORTED), "no words")
    # Whoever asked said the name in his own prompts.
    await eventually(lambda: tables_about(mesh, WORKER) <= {"scheduler.generation"}, "no name")
    await eventually(
        lambda: not tables_about(mesh, mine) & {*BEHAVIOUR, "scheduler.owner", "scheduler.worker"},
        "nothing of what it did",
    )
    await eventually(lambda: not inputs_of(mesh), "no inputs")
    assert Buckets(mesh).where(given) == [SHARED]
    assert Buckets(mesh).where(kept) == [PRIVATE]
    assert (await account.generations.get(his.generation_id)).finished
    for kind in (LedgerAccountKind.LEDGER_ACCOUNT_KIND_SPEND, LedgerAccountKind.LEDGER_ACCOUNT_KIND_ESCROW):
        assert (await books.balance(kind, mine)).posted_mkudos == 0
    burned = await books.balance(LedgerAccountKind.LEDGER_ACCOUNT_KIND_FORFEIT_BURN)
    assert burned.posted_mkudos == gone.burned_mkudos
    await books.assert_balanced()
