"""Workers that were written for AI Horde, scripted as the most common one calls: pop, upload, submit."""

from __future__ import annotations

import asyncio
import base64
import io
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from PIL import Image as Pillow
from tests.mesh.probing import png, rich_account
from tests.mesh.v2.calling import Door, door_of, web_mesh
from tests.mesh.v2.shapes import Job, Nothing, Rewarded, User, WorkerDetails

from horde.cli.local.mesh import LocalMesh
from horde.clients.credentials import ApiKey
from horde.testkit.waiting import HANG_SECONDS

AGENT = "AI Horde Worker reGen:10.1.1:https://github.com/Haidra-Org/horde-worker-reGen"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalMesh]:
    async with web_mesh(tmp_path_factory.mktemp("mesh")) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nobody(mesh: LocalMesh) -> AsyncIterator[Door]:
    async with door_of(mesh) as door:
        yield door


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def owner(mesh: LocalMesh, nobody: Door) -> AsyncIterator[Door]:
    async with rich_account(mesh, "Olga") as client:
        assert isinstance(client.credential, ApiKey)
        yield nobody.by(client.credential.secret)


pytestmark = pytest.mark.asyncio(loop_scope="module")


def webp(width: int = 64, height: int = 64, colour: str = "teal") -> bytes:
    buffer = io.BytesIO()
    Pillow.new("RGB", (width, height), colour).save(buffer, "WEBP")
    return buffer.getvalue()


@dataclass
class RestWorker:
    """A worker there, with a model that nobody else has."""

    door: Door
    model: str = field(default_factory=lambda: f"model {uuid.uuid4().hex[:8]}")
    name: str = field(default_factory=lambda: f"A worker {uuid.uuid4().hex[:8]}!")
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def wants(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "models": [self.model],
            "max_pixels": 1_048_576,
            "bridge_agent": AGENT,
            "amount": 1,
            "threads": 1,
            "nsfw": True,
            "blacklist": [],
            "priority_usernames": [],
            "require_upfront_kudos": False,
            "allow_img2img": True,
            "allow_painting": True,
            "allow_unsafe_ipaddr": True,
            "allow_post_processing": True,
            "allow_controlnet": False,
            "allow_lora": True,
            **self.more,
        }

    async def pop(self) -> Job | Nothing:
        answer = await self.door.call("POST", "generate/pop", self.wants)
        assert answer.status_code == 200, answer.text
        shape = Job if answer.json()["id"] else Nothing
        return shape.model_validate_json(answer.text)

    async def job(self) -> Job:
        """Pop until there is one."""
        async with asyncio.timeout(HANG_SECONDS):
            while True:
                if isinstance(job := await self.pop(), Job):
                    return job

    async def asked(self, **body: Any) -> tuple[str, Job]:
        """Ask for a picture of this worker's model, and take the job."""
        await self.here()
        accepted = await self.door.ask(models=[self.model], **body)
        return accepted.id, await self.job()

    async def here(self) -> None:
        """Wait until the mesh knows that this worker has its model."""
        async with asyncio.timeout(HANG_SECONDS):
            while True:
                await self.pop()
                answer = await self.door.call("GET", f"status/models/{self.model}")
                if answer.status_code == 200 and answer.json()[0]["count"]:
                    return

    async def upload(self, job: Job, picture: bytes) -> int:
        """As it does it: no key, no content type."""
        async with self.door.http.stream("PUT", job.r2_uploads[0], content=picture) as answer:
            return answer.status_code

    def report(self, job: Job, **fields: Any) -> dict[str, Any]:
        seed = int(job.payload.seed)
        return {"id": job.id, "generation": "R2", "state": "ok", "seed": seed, "censored": False, **fields}

    async def submit(self, job: Job, **fields: Any) -> Rewarded:
        answer = await self.door.call("POST", "generate/submit", self.report(job, **fields))
        assert answer.status_code == 200, answer.text
        return Rewarded.model_validate_json(answer.text)

    async def refused(self, job: Job, **fields: Any) -> tuple[int, str, str]:
        answer = await self.door.call("POST", "generate/submit", self.report(job, **fields))
        return answer.status_code, answer.json()["rc"], answer.json()["message"]


async def test_a_job_is_taken_painted_brought_and_paid(owner: Door) -> None:
    worker = RestWorker(owner)
    before = (await owner.get("find_user", User)).kudos
    name, job = await worker.asked(prompt="a fox ### a hound", params={"seed": "11", "cfg_scale": 5.5, "clip_skip": 2})
    assert (job.payload.prompt, job.payload.seed, job.payload.cfg_scale) == ("a fox ### a hound", "11", 5.5)
    assert (job.payload.width, job.payload.height, job.payload.ddim_steps, job.payload.clip_skip) == (64, 64, 4, 2)
    assert (job.model, job.source_processing, job.ids, job.r2_uploads) == (
        worker.model,
        "txt2img",
        [job.id],
        [job.r2_upload],
    )
    assert (await owner.checked(name)).processing == 1
    assert await worker.upload(job, webp()) == 200
    assert await worker.upload(job, webp()) == 200  # Again, as after an answer that was lost.
    reward = (await worker.submit(job)).reward
    assert reward > 0
    status = await owner.finished(name)
    assert status.generations[0].id == job.id
    assert status.generations[0].state == "ok"
    answer = await owner.http.get(status.generations[0].img)
    assert answer.content == webp()
    assert answer.headers["content-type"] == "image/webp"
    # What it paid for the picture beside what it earned: the tax.
    assert (await owner.get("find_user", User)).kudos < before


async def test_a_picture_that_is_sent_as_text_is_taken_too(owner: Door) -> None:
    worker = RestWorker(owner)
    name, job = await worker.asked()
    assert (await worker.submit(job, generation=base64.b64encode(webp()).decode())).reward > 0
    assert len((await owner.finished(name)).generations) == 1


async def test_source_image_and_mask_are_fetched_by_link(owner: Door) -> None:
    worker = RestWorker(owner)
    source, mask = png(colour="navy"), png(colour="white")
    _, job = await worker.asked(
        source_image=base64.b64encode(source).decode(),
        source_mask=base64.b64encode(mask).decode(),
        source_processing="inpainting",
        params={"denoising_strength": 0.5},
    )
    assert job.source_processing == "inpainting"
    assert job.payload.denoising_strength == 0.5
    for link, content in ((job.source_image, source), (job.source_mask, mask)):
        answer = await owner.http.get(link or "")
        assert answer.headers["content-type"] == "image/png"
        with Pillow.open(io.BytesIO(answer.content)) as got, Pillow.open(io.BytesIO(content)) as sent:
            assert got.tobytes() == sent.tobytes()
    assert await worker.upload(job, webp()) == 200
    await worker.submit(job)


async def test_what_it_did_otherwise_reaches_who_asked(owner: Door) -> None:
    worker = RestWorker(owner)
    name, job = await worker.asked(params={"loras": [{"name": "glow", "model": 0.5}]})
    extra = (job.payload.model_extra or {})["loras"]
    assert extra == [{"name": "glow", "model": 0.5, "clip": 0.5}]
    await worker.upload(job, webp())
    await worker.submit(job, gen_metadata=[{"type": "lora", "value": "download_failed", "ref": "glow"}])
    (entry,) = (await owner.finished(name)).generations[0].gen_metadata
    assert (entry.type, entry.value, entry.ref) == ("lora", "download_failed", "glow")


async def test_a_fault_gives_the_job_to_somebody_else(owner: Door) -> None:
    worker = RestWorker(owner)
    name, job = await worker.asked()
    assert (await worker.submit(job, state="faulted", generation="faulted")).reward == 0
    other = RestWorker(owner, worker.model)
    again = await other.job()
    assert again.id == job.id
    await other.upload(again, webp())
    await other.submit(again)
    assert (await owner.finished(name)).generations[0].worker_name.startswith("A-worker-")


async def test_what_is_withheld_is_told_without_a_picture(owner: Door) -> None:
    worker = RestWorker(owner)
    name, job = await worker.asked()
    censored = {"state": "censored", "censored": True, "gen_metadata": [{"type": "censorship", "value": "nsfw"}]}
    # Everybody is proven in this mesh, and needs no second word.
    await worker.submit(job, **censored)
    (generation,) = (await owner.finished(name)).generations
    assert (generation.img, generation.state, generation.censored) == ("N/A", "censored", True)
    assert generation.gen_metadata[0].type == "censorship"


async def test_late_and_repeated_words_are_answered_in_words_that_workers_know(owner: Door, nobody: Door) -> None:
    worker = RestWorker(owner)
    name, job = await worker.asked()
    status, rc, message = await worker.refused(job, generation="R2")
    assert (status, rc) == (400, "BadRequest")
    assert "upload" in message
    stranger = RestWorker(nobody.by("0" * 21 + "a"), worker.model)
    status, rc, message = await stranger.refused(job)
    assert (status, rc) == (403, "WrongCredentials")
    assert "wrong credentials" in message
    await worker.upload(job, webp())
    await worker.submit(job)
    status, rc, message = await worker.refused(job)
    assert (status, rc) == (400, "DuplicateGen")
    assert "already submitted" in message
    await owner.finished(name)
    status, rc, message = await worker.refused(job, id=str(uuid.uuid4()))
    assert (status, rc) == (404, "InvalidJobID")
    assert "Processing Job with ID" in message
    assert "does not exist" in message


async def test_a_job_that_was_cancelled_meanwhile_is_refused(owner: Door) -> None:
    worker = RestWorker(owner)
    name, job = await worker.asked()
    await owner.by("").call("DELETE", f"generate/status/{name}")
    assert (await owner.finished(name)).done
    async with asyncio.timeout(HANG_SECONDS):
        while True:
            status, rc, message = await worker.refused(job)
            if rc == "AbortedGen":
                break
            assert rc == "BadRequest"  # The word of the cancel is on its way.
    assert status == 400
    assert "Please check your worker speed" in message


@pytest.mark.parametrize("picture", [b"no picture", webp(128, 64)], ids=["junk", "wrong size"])
async def test_what_is_no_picture_of_the_job_is_refused(picture: bytes, owner: Door) -> None:
    worker = RestWorker(owner)
    _, job = await worker.asked()
    assert await worker.upload(job, picture) == 400
    assert await worker.upload(job, webp()) == 200
    await worker.submit(job)


async def test_a_grant_that_is_none_uploads_nothing(owner: Door) -> None:
    for grant in ("x", "a.b.c", "x" * 5_000):
        answer = await owner.http.put(f"uploads/{grant}", content=webp())
        assert answer.status_code == 401


async def test_who_may_not_work_is_told(owner: Door, nobody: Door) -> None:
    worker = RestWorker(owner)
    assert await nobody.refused("POST", "generate/pop", worker.wants) == (403, "AnonForbiddenWorker")
    stranger = nobody.by("0" * 21 + "b")
    for _ in range(3):
        assert await stranger.refused("POST", "generate/pop", worker.wants) == (401, "InvalidAPIKey")
    made = (await owner.call("PUT", "sharedkeys", {"name": "only to ask"})).json()
    assert (await nobody.by(made["id"]).refused("POST", "generate/pop", worker.wants))[0] == 403
    assert await owner.refused("POST", "generate/pop", {"models": []}) == (400, "BadRequest")


async def test_maintenance_is_told_and_ends(owner: Door, nobody: Door) -> None:
    worker = RestWorker(owner)
    await worker.here()
    shown = WorkerDetails.model_validate((await owner.call("GET", f"workers/name/{worker.name}")).json())
    assert shown.bridge_agent == AGENT
    assert await nobody.refused("PUT", f"workers/{shown.id}", {"maintenance": True}) == (401, "InvalidAPIKey")
    changed = await owner.call("PUT", f"workers/{shown.id}", {"maintenance": True})
    assert changed.json() == {"maintenance": True}
    answer = await owner.call("POST", "generate/pop", worker.wants)
    assert answer.json()["rc"] == "WorkerMaintenance"
    assert "maintenance mode" in answer.json()["message"]
    await owner.call("PUT", f"workers/{shown.id}", {"maintenance": False})
    assert isinstance(await worker.pop(), Nothing)
    assert await owner.refused("PUT", f"workers/{shown.id}", {}) == (400, "NoWorkerModSelected")
    assert await owner.refused("PUT", f"workers/{shown.id}", {"paused": True}) == (403, "NotModerator")


async def test_two_threads_hold_two_jobs(owner: Door) -> None:
    worker = RestWorker(owner)
    await worker.here()
    names = [(await owner.ask(models=[worker.model])).id for _ in range(2)]
    jobs = [await worker.job(), await worker.job()]
    assert jobs[0].id != jobs[1].id
    for job in reversed(jobs):
        await worker.upload(job, webp())
        await worker.submit(job)
    for name in names:
        assert (await owner.finished(name)).finished == 1


async def test_what_it_says_that_it_can_do_now_counts_at_once(owner: Door) -> None:
    worker = RestWorker(owner)
    await worker.here()
    worker.model = f"model {uuid.uuid4().hex[:8]}"
    name, job = await worker.asked()
    assert job.model == worker.model
    await worker.upload(job, webp())
    await worker.submit(job)
    assert (await owner.finished(name)).finished == 1


@pytest.mark.slow
async def test_a_worker_that_falls_silent_with_a_job_not_fetched_costs_nobody_a_picture(owner: Door) -> None:
    silent = RestWorker(owner)
    await silent.here()
    accepted = await owner.ask(models=[silent.model])
    # The mesh lends it at once to who has just asked for work, and never comes back. Another is there.
    other = RestWorker(owner, silent.model)
    job = await other.job()
    await other.upload(job, webp())
    await other.submit(job)
    assert (await owner.finished(accepted.id)).finished == 1
