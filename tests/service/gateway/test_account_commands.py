"""The SDK and the command line on accounts and shared keys, against a real gateway."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from horde.api.worker.v1 import worker_pb2
from horde.clients.client import HordeClient
from horde.clients.credentials import ApiKey
from horde.clients.errors import AccountRequestConflict, GenerationNotFinished, SharedKeyNotFound, WorkerBusy
from horde.clients.specs import generation_spec
from horde.testkit.gateway import Bench


async def horde(mesh: Bench, folder: Path, *arguments: str, status: int = 0, key: str = "") -> Any:
    """The one JSON document of a command."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HORDE_")}
    environment |= {"HORDE_GATEWAY": mesh.target, "HORDE_CONFIG_DIR": str(folder / "config"), "HORDE_API_KEY": key}
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "horde.cli.commands.main",
        *arguments,
        "--json",
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, error = await child.communicate()
    assert child.returncode == status, error.decode()
    return json.loads(output) if status == 0 else None


async def test_an_account_is_opened_changed_and_exported_as_typed(mesh: Bench, tmp_path: Path) -> None:
    opened = await horde(mesh, tmp_path, "account", "create", "Anna")
    assert len(opened["api_key"]) == 22
    changed = await horde(mesh, tmp_path, "account", "update", "--name", "Änne", "--public", "--contact", "at home")
    assert (changed["account"]["display_name"], changed["account"]["public"]) == ("Änne", True)
    assert changed["account"]["contact"] == "at home"
    await horde(mesh, tmp_path, "account", "update", status=2)
    made = await horde(mesh, tmp_path, "account", "keys", "create", "rig", "--scope", "work")
    assert len(made["api_key"]) == 22
    file = tmp_path / "mine.jsonl"
    assert (await horde(mesh, tmp_path, "account", "export", str(file)))["items"] == 3
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["kind"].rsplit(".", 1)[1] for line in lines] == ["Account", "ApiKey", "ApiKey", "ExportEnd"]
    assert lines[0]["item"]["display_name"] == "Änne"
    # What is there is never written over.
    await horde(mesh, tmp_path, "account", "export", str(file), status=1)


async def test_a_key_is_shared_listed_and_revoked_as_typed(mesh: Bench, tmp_path: Path) -> None:
    await horde(mesh, tmp_path, "account", "create", "Anna")
    typed = ("--budget", "20", "--lasts", "7d", "--max-steps", "30", "--model", "paintbox")
    made = await horde(mesh, tmp_path, "account", "shared", "create", "Clara", *typed)
    assert int(made["key"]["budget_mkudos"]) == 20_000
    assert made["key"]["bounds"]["models"] == ["paintbox"]
    (listed,) = (await horde(mesh, tmp_path, "account", "shared"))["keys"]
    assert listed["shared_key_id"] == made["key"]["shared_key_id"]
    async with HordeClient(mesh.target, credential=ApiKey(made["secret"])) as holder:
        assert (await holder.shared_keys.show()).label == "Clara"
    revoked = await horde(mesh, tmp_path, "account", "shared", "revoke", "Clara")
    assert revoked["key"]["revoked"]
    await horde(mesh, tmp_path, "account", "shared", "revoke", "Clara", status=5)


async def test_an_operator_makes_and_unmakes_a_moderator_as_typed(mesh: Bench, tmp_path: Path) -> None:
    key = mesh.operator[0][1].removeprefix("Bearer ")
    account_id = (await horde(mesh, tmp_path, "account", "create", "Anna"))["account"]["account_id"]
    change = ("operator", "roles", account_id, "--reason", "Elected.")
    made = await horde(mesh, tmp_path, *change, "--grant", "moderator", "--grant", "operator", key=key)
    assert made["account"]["roles"] == ["ACCOUNT_ROLE_MODERATOR", "ACCOUNT_ROLE_OPERATOR"]
    left = await horde(mesh, tmp_path, *change, "--revoke", "operator", key=key)
    assert left["account"]["roles"] == ["ACCOUNT_ROLE_MODERATOR"]
    listed = await horde(mesh, tmp_path, "operator", "accounts", "--role", "moderator", "--name", "ann", key=key)
    assert [account["account_id"] for account in listed["accounts"]] == [account_id]
    for wrong in ((), ("--grant", "operator", "--revoke", "operator")):
        await horde(mesh, tmp_path, *change, *wrong, status=2, key=key)


async def test_the_sdk_repeats_with_the_same_key(mesh: Bench) -> None:
    async with HordeClient(mesh.target, anonymous=True) as stranger:
        opened = await stranger.accounts.create("Anna")
    async with HordeClient(mesh.target, credential=ApiKey(opened.api_key)) as anna:
        name, secret = "00000000-0000-4000-8000-000000000001", "Zk3vN0qWx7PbYtR5sLd2Jh"
        first = await anna.shared_keys.create("Clara", key=secret, request_id=name)
        assert await anna.shared_keys.create("Clara", key=secret, request_id=name) == first
        with pytest.raises(AccountRequestConflict):
            await anna.shared_keys.create("Clara", request_id=name)
        changed = await anna.shared_keys.update(first[1].shared_key_id, ["budget_mkudos"], budget_mkudos=5)
        assert [key.budget_mkudos for key in await anna.shared_keys.list()] == [5]
        assert changed.label == "Clara"
        assert (await anna.shared_keys.revoke(changed.shared_key_id)).revoked
        with pytest.raises(SharedKeyNotFound):
            await anna.shared_keys.show("nothing")


async def test_an_account_is_ended_as_typed(mesh: Bench, tmp_path: Path) -> None:
    opened = await horde(mesh, tmp_path, "account", "create", "Anna")
    file = tmp_path / "mine.jsonl"
    await horde(mesh, tmp_path, "account", "delete", str(file), status=2)  # Nobody can be asked.
    assert not file.exists()
    gone = await horde(mesh, tmp_path, "account", "delete", str(file), "--yes")
    assert int(gone["burned_mkudos"]) == mesh.ledger.available
    assert json.loads(file.read_text().splitlines()[0])["item"]["display_name"] == "Anna"
    # Its key is forgotten here, and good for nothing but saying it again.
    assert not list((tmp_path / "config").rglob("api-key"))
    key = ("--api-key", opened["api_key"])
    assert await horde(mesh, tmp_path, "account", "delete", str(file), "--yes", *key) == gone
    await horde(mesh, tmp_path, "account", "show", *key, status=4)


async def test_only_a_whole_export_is_taken_for_one(mesh: Bench, tmp_path: Path) -> None:
    await horde(mesh, tmp_path, "account", "create", "Anna")
    file = tmp_path / "cut.jsonl"
    for text in ("", "no JSON\n", '{"kind":"x"}\n', "[]\n"):
        file.write_text(text)
        await horde(mesh, tmp_path, "account", "delete", str(file), "--yes", status=1)
    await horde(mesh, tmp_path, "account", "show")


async def test_generations_and_workers_are_deleted_as_typed(mesh: Bench, tmp_path: Path) -> None:
    opened = await horde(mesh, tmp_path, "account", "create", "Anna")
    async with HordeClient(mesh.target, credential=ApiKey(opened["api_key"])) as anna:
        made = await anna.generations.create(generation_spec("a fox", model="paintbox"))
        await horde(mesh, tmp_path, "generations", "delete", made.generation_id[:8], status=1)
        with pytest.raises(GenerationNotFinished):
            await anna.generations.delete(made.generation_id)
        mesh.scheduler.end(made.generation_id, 0)
        gone = await horde(mesh, tmp_path, "generations", "delete", made.generation_id[:8])
        assert gone == {"generation_id": made.generation_id}
        assert not mesh.scheduler.generations
        await horde(mesh, tmp_path, "generations", "delete", made.generation_id)
        owner = opened["account"]["account_id"]
        state = worker_pb2.WORKER_STATE_READY
        mesh.scheduler.workers[owner] = worker_pb2.Worker(
            worker_id=owner, name="rig", owner_account_id=owner, state=state
        )
        with pytest.raises(WorkerBusy):
            await anna.workers.delete(owner)
        mesh.scheduler.workers[owner].state = worker_pb2.WORKER_STATE_AWAY
        assert await horde(mesh, tmp_path, "workers", "delete", "rig") == {"worker_id": owner}
        assert not mesh.scheduler.workers
        await horde(mesh, tmp_path, "workers", "delete", owner)
