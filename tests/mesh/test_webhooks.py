"""A program is told by a whole mesh what became of pictures, also when the service that tells is killed in between."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook as Verifier
from tests.mesh.probing import rich_account, small
from tests.mesh.test_command_line import Horde

from horde.cli.local.mesh import LocalMesh
from horde.cli.local.roles import Role
from horde.clients.client import HordeClient
from horde.clients.credentials import ApiKey
from horde.testkit.waiting import until
from horde.testkit.webhooks import Receiver, receiver

pytestmark = pytest.mark.asyncio(loop_scope="module")


def told(heard: Receiver, kind: str) -> dict[str, dict[str, Any]]:
    """What was told, by delivery."""
    bodies = {call.headers["webhook-id"]: json.loads(call.body) for call in heard.calls}
    return {delivery: body["data"] for delivery, body in bodies.items() if body["type"] == kind}


async def painted(account: HordeClient, prompt: str, **options: Any) -> str:
    made = await account.generations.create(small(prompt, **options))
    done = await account.generations.finish(made.generation_id)
    return done.generation_id


async def test_every_generation_is_told_once_under_one_id_whatever_is_killed(mesh: LocalMesh, tmp_path: Path) -> None:
    async with rich_account(mesh) as account, receiver(None) as heard:
        horde = Horde(mesh.gateway, tmp_path)
        assert isinstance(account.credential, ApiKey)
        horde.environment["HORDE_API_KEY"] = account.credential.secret
        made = await horde.ask(
            "webhooks", "create", heard.url, "--event", "generation.finished", "--event", "image.ended"
        )
        webhook_id = made["webhook"]["webhook_id"]
        tested = await horde.ask("webhooks", "test", webhook_id)
        assert tested["delivery"]["state"] == "DELIVERY_STATE_DELIVERED"

        names = [await painted(account, "a secret wish", count=2)]
        await until(lambda: told(heard, "generation.finished"))
        # What happens while nobody can be told is told later.
        await mesh.processes[Role.WEBHOOKS.value].kill()
        names.append(await painted(account, "a secret wish, too"))
        await mesh.start(Role.WEBHOOKS)
        await mesh.serving(Role.WEBHOOKS)
        names.append(await painted(account, "a third secret wish"))
        await until(lambda: len(told(heard, "generation.finished")) >= 3)
        await until(lambda: len(told(heard, "image.ended")) >= 4)

        finished = told(heard, "generation.finished")
        assert sorted(data["generation_id"] for data in finished.values()) == sorted(names)
        images = told(heard, "image.ended")
        assert len({data["job_id"] for data in images.values()}) == len(images) == 4
        for call in heard.calls:
            Verifier(made["secret"]).verify(call.body, call.headers)
            assert b"secret wish" not in call.body

        listed = await horde.ask("webhooks")
        assert [each["webhook_id"] for each in listed["webhooks"]] == [webhook_id]
        log = (await horde.ask("webhooks", "log", webhook_id))["deliveries"]
        assert {each["delivery_id"] for each in log} == {call.headers["webhook-id"] for call in heard.calls}
        again = await horde.ask("webhooks", "retry", webhook_id, log[0]["delivery_id"])
        assert len(again["delivery"]["tries"]) == len(log[0]["tries"]) + 1
        changed = await horde.ask("webhooks", "rotate", webhook_id)
        await horde.ask("webhooks", "test", webhook_id)
        for secret in (made["secret"], changed["secret"]):
            Verifier(secret).verify(heard.calls[-1].body, heard.calls[-1].headers)
        await horde.ask("webhooks", "delete", webhook_id)
        assert (await horde.ask("webhooks", "list"))["webhooks"] == []
        refused = await horde.run("webhooks", "create", "https://169.254.169.254/latest")
        assert refused[0] != 0
        assert "public" in refused[2]
