"""A worker that is written with horde-sdk as it comes, against the address in AI_HORDE_URL: one job, then it ends.

Run by `make try-ai-horde` in an environment of its own: horde-sdk is no part of this project.
"""

from __future__ import annotations

import asyncio
import io
import json
import sys

import aiohttp
from horde_sdk.ai_horde_api.ai_horde_clients import AIHordeAPIAsyncClientSession
from horde_sdk.ai_horde_api.apimodels import (
    FindUserRequest,
    GenMetadataEntry,
    ImageGenerateJobPopRequest,
    ImageGenerateJobPopResponse,
    ImageGenerationJobSubmitRequest,
    JobSubmitResponse,
    UserDetailsResponse,
)
from horde_sdk.ai_horde_api.consts import GENERATION_STATE
from PIL import Image

AGENT = "AI Horde Worker reGen:10.1.1:https://github.com/Haidra-Org/horde-worker-reGen"


async def main(apikey: str, model: str) -> None:
    """Take one job, bring a picture, and say what came as a line of JSON each."""

    def say(what: str, **facts: object) -> None:
        print(json.dumps({"what": what, **facts}, default=str), flush=True)

    async with aiohttp.ClientSession() as http, AIHordeAPIAsyncClientSession(http) as session:
        user = await session.submit_request(FindUserRequest(apikey=apikey), UserDetailsResponse)
        say("user", name=getattr(user, "username", user))
        wants = ImageGenerateJobPopRequest(
            apikey=apikey,
            name="An SDK worker!",
            models=[model],
            bridge_agent=AGENT,
            max_pixels=1024 * 1024,
            nsfw=True,
            amount=1,
            threads=1,
            allow_img2img=True,
            allow_painting=True,
            allow_lora=True,
        )
        while True:
            job = await session.submit_request(wants, ImageGenerateJobPopResponse)
            if not isinstance(job, ImageGenerateJobPopResponse):
                raise SystemExit(f"the pop was refused: {job}")
            if job.ids:
                break
            say("nothing to do")
            await asyncio.sleep(1)
        await job.async_download_additional_data(http)
        source = job.get_downloaded_source_image()
        say(
            "job",
            id=job.ids[0],
            prompt=job.payload.prompt,
            steps=job.payload.ddim_steps,
            source_bytes=len(source or ""),
        )
        buffer = io.BytesIO()
        Image.new("RGB", (job.payload.width, job.payload.height), "teal").save(buffer, "WEBP")
        assert job.r2_uploads is not None
        async with http.put(job.r2_uploads[0], data=buffer.getvalue(), skip_auto_headers=["content-type"]) as uploaded:
            say("uploaded", status=uploaded.status)
        paid = await session.submit_request(
            ImageGenerationJobSubmitRequest(
                apikey=apikey,
                id=job.ids[0],
                generation="R2",
                state=GENERATION_STATE.ok,
                seed=int(job.payload.seed or 0),
                gen_metadata=[GenMetadataEntry(type="information", value="see_ref", ref="a trial")],
            ),
            JobSubmitResponse,
        )
        say("submitted", reward=getattr(paid, "reward", paid))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
