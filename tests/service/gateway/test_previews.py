"""Previews: from the worker to who watches, and no further."""

from __future__ import annotations

import io
import uuid
from collections.abc import Awaitable, Callable

from PIL import Image
from tests.service.gateway.attaching import PNG, Credentials, Worker, relay_of

from horde.api.generation.v1 import generation_pb2
from horde.api.generation.v1 import generation_service_pb2 as generation_service
from horde.api.worker.v1 import worker_service_pb2 as pb
from horde.testkit.gateway import Bench
from horde.testkit.waiting import until


def drawn(form: str, width: int = 512, height: int = 384) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 30)).save(out, form)
    return out.getvalue()


async def test_previews_go_from_the_worker_to_who_watches_and_no_further(
    mesh: Bench,
    worker: Worker,
    bert: Credentials,
    register: Callable[[str], Awaitable[Credentials]],
    spec: Callable[..., generation_pb2.GenerationSpec],
) -> None:
    relay = await relay_of(mesh)
    thief = Worker(mesh, await register("Thief"))
    await worker.attach()
    await worker.restate()
    await thief.attach("thief")
    asked = generation_service.CreateGenerationRequest(request_id=str(uuid.uuid4()), spec=spec())
    generation = (await mesh.generations.CreateGeneration(asked, metadata=bert)).generation
    job_id = generation.images[0].job_id
    lent = pb.Assignment(lease_id="7-2", job_id=job_id, generation_id=generation.generation_id)
    mesh.scheduler.lease(generation.generation_id, 0, "7-2")
    relay.say(1, pb.AttachResponse(assignment=lent))
    await worker.hear("assignment")
    # Nobody watches yet: nothing is wished for, and what is sent all the same is dropped.
    await worker.say(preview=pb.LeasePreview(lease_id="7-2", step=1, image=PNG))
    watch = mesh.generations.WatchGeneration(
        generation_service.WatchGenerationRequest(generation_id=generation.generation_id, previews=True), metadata=bert
    )
    assert (await watch.read()).HasField("snapshot")
    wish = await worker.hear("preview_wish")
    assert (wish.lease_id, wish.wanted) == ("7-2", True)
    refused = mesh.gateway.previews.refused
    await thief.say(preview=pb.LeasePreview(lease_id="7-2", step=1, image=PNG))
    await worker.say(preview=pb.LeasePreview(lease_id="7-2", step=1, image=b"<html>" * 10))
    await worker.say(preview=pb.LeasePreview(lease_id="7-2", step=1, image=PNG + bytes(32 * 1024)))
    await until(lambda: mesh.gateway.previews.refused == refused + 3)
    await worker.say(preview=pb.LeasePreview(lease_id="7-2", step=2, image=drawn("WEBP")))
    await worker.say(preview=pb.LeasePreview(lease_id="7-2", step=3, image=drawn("WEBP")))
    preview = (await watch.read()).preview
    assert (preview.job_id, preview.lease_id, preview.step) == (job_id, "7-2", 2)
    with Image.open(io.BytesIO(preview.image)) as shown:
        assert (shown.format, shown.size) == ("JPEG", (256, 192))
    await until(lambda: mesh.gateway.previews.refused == refused + 4)
    watch.cancel()
    assert not (await worker.hear("preview_wish")).wanted
    assert relay.kinds(1) == ["opened", "restatement"]
