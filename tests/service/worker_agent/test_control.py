"""The owner's hand on a worker that runs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from horde.services.errors import Unavailable
from horde.testkit.waiting import POLL_SECONDS, ticks, until
from horde.testkit.worker_agent import FakeMesh
from horde.worker_agent import control, screen
from horde.worker_agent.control import NotRunning, NotUnderstood, ask, control_door
from horde.worker_agent.running import run_worker
from horde.worker_agent.settings import WorkerSettings

Settings = Callable[..., WorkerSettings]


def started(settings: WorkerSettings) -> asyncio.Task[None]:
    return asyncio.create_task(run_worker(settings, asyncio.create_task(asyncio.Event().wait())))


async def asked(settings: WorkerSettings, what: str, **named: object) -> dict[str, Any]:
    return await ask(settings.home, what, **named)


async def test_an_owner_looks_pauses_resumes_and_stops(mesh: FakeMesh, settings: Settings) -> None:
    mine = settings()
    run = started(mine)
    await mesh.gateway.until(mesh.gateway.restatements)
    assert (await asked(mine, "status"))["state"] == "idle"
    assert (mine.home / "control").stat().st_mode & 0o077 == 0

    lent = mesh.assign("[slow:0.02] a secret prompt", steps=100)
    await mesh.gateway.until(lambda: mesh.gateway.progress(lent.lease_id))
    shown = await asked(mine, "status")
    assert shown["state"] == "painting"
    (job,) = shown["jobs"]
    assert (job["model"], job["width"], job["steps"], job["stage"]) == ("paintbox", 64, 100, "painting")
    assert "secret" not in json.dumps(shown)

    paused = await asked(mine, "pause", minutes=30)
    # What is begun goes on.
    assert paused["state"] == "painting"
    await mesh.gateway.until(lambda: mesh.gateway.heard[-1].HasField("demand") or mesh.gateway.outcomes())
    demands = [message.demand.slots for message in mesh.gateway.heard if message.HasField("demand")]
    assert demands[0] == 0
    await mesh.gateway.until(mesh.gateway.outcomes)
    for _ in ticks():
        shown = await asked(mine, "status")
        if shown["state"] == "paused" and shown["paid"]:
            break
    assert re.fullmatch(r"you have paused it, for \d+ more minutes", shown["why"][0])
    assert (shown["paid"], shown["earned_mkudos"]) == (1, 10_830)
    assert "paused     you have paused it" in screen.text(shown)

    assert (await asked(mine, "resume"))["state"] == "idle"
    await mesh.gateway.until(lambda: any(message.demand.slots == 2 for message in mesh.gateway.heard))
    await asked(mine, "pause")
    assert (await asked(mine, "status"))["why"] == ["you have paused it: `horde worker resume`"]

    assert (await asked(mine, "stop"))["state"] == "leaving"
    await run
    with pytest.raises(NotRunning):
        await asked(mine, "status")
    assert not (mine.home / "control").exists()


async def test_a_worker_says_that_the_gateway_is_away(mesh: FakeMesh, settings: Settings) -> None:
    mesh.gateway.refuse_with = Unavailable("away")
    mine = settings()
    run = started(mine)
    await until(lambda: mesh.gateway.refusals)
    # That it was refused is known a little before the worker has taken it in.
    for _ in ticks("it says that it is away"):
        shown = await asked(mine, "status")
        if shown["state"] == "away":
            break
        await asyncio.sleep(POLL_SECONDS)
    assert "cannot be reached" in shown["why"][0]
    await asked(mine, "stop")
    await run


class Nothing:
    def status(self) -> dict[str, Any]:
        return {"state": "idle"}

    def pause(self, minutes: float | None) -> None:
        raise NotUnderstood("it loads")

    def resume(self) -> None: ...
    def stop(self) -> None: ...


@pytest.mark.parametrize(
    ("what", "named", "words"),
    [
        ("dance", {}, "'dance' is nothing that a worker does"),
        ("pause", {"minutes": -1}, "-1 is no number of minutes"),
        ("pause", {"minutes": "soon"}, "'soon' is no number of minutes"),
        ("pause", {}, "it loads"),
        ("status", {"token": "wrong"}, "the token is not that of this run"),
    ],
)
async def test_what_cannot_be_done_is_said(tmp_path: Path, what: str, named: dict[str, object], words: str) -> None:
    async with control_door(tmp_path, Nothing()):
        with pytest.raises(NotUnderstood, match=words):
            await ask(tmp_path, what, **named)


@pytest.mark.parametrize(
    "said", [b"", b"\n", b"junk\n", b"[1]\n", b"\xff\xfe\n", b"{" * 5000 + b"\n", b"[" * 4000 + b"\n"]
)
async def test_junk_does_the_door_no_harm(tmp_path: Path, said: bytes) -> None:
    async with control_door(tmp_path, Nothing()):
        port = json.loads((tmp_path / "control").read_text())["port"]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(said)
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        assert not answer or "error" in json.loads(answer)
        assert (await ask(tmp_path, "status")) == {"state": "idle"}


async def test_another_user_of_this_machine_does_not_keep_the_owner_out(tmp_path: Path) -> None:
    async with control_door(tmp_path, Nothing()):
        port = json.loads((tmp_path / "control").read_text())["port"]
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3 * control.MAX_SILENT)]
        held[-1][1].write(b'{"token": "')
        assert (await ask(tmp_path, "status")) == {"state": "idle"}
        # The longest silent has gone, the newest has not.
        with contextlib.suppress(ConnectionError):
            assert await held[0][0].read() == b""
        held[-1][1].write(b'wrong"}\n')
        assert "the token is not that of this run" in (await held[-1][0].readline()).decode()
        for _, writer in held:
            writer.close()


@pytest.mark.parametrize("left", ['{"port": 1, "token": "x"}', "junk", "{}", "[]"])
async def test_what_a_killed_worker_left_is_no_worker(tmp_path: Path, left: str) -> None:
    (tmp_path / "control").write_text(left)
    with pytest.raises(NotRunning, match="no worker of"):
        await ask(tmp_path, "status")


def test_the_program_says_that_nobody_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HORDE_WORKER_API_KEY", "x")
    monkeypatch.setenv("HORDE_WORKER_NAME", "anna")
    assert screen.main(["pause", "10", "--state-dir", str(tmp_path)]) == 1
    assert "no worker of" in capsys.readouterr().err
    assert screen.main(["pause", "soon", "--state-dir", str(tmp_path)]) == 2
