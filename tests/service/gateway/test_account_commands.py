"""The SDK and the command line on accounts and shared keys, against a real gateway."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from horde.clients.client import HordeClient
from horde.clients.credentials import ApiKey
from horde.clients.errors import AccountRequestConflict, SharedKeyNotFound
from horde.testkit.gateway import Bench


async def horde(mesh: Bench, folder: Path, *arguments: str, status: int = 0) -> Any:
    """The one JSON document of a command."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HORDE_")}
    environment |= {"HORDE_GATEWAY": mesh.target, "HORDE_CONFIG_DIR": str(folder / "config")}
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
    assert [line["kind"].rsplit(".", 1)[1] for line in lines] == ["Account", "ApiKey", "ApiKey"]
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
