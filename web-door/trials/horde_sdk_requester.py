"""A requester that is written with horde-sdk as it comes, against the address in AI_HORDE_URL.

Run by `make try-ai-horde` in an environment of its own: horde-sdk is no part of this project.
"""

from __future__ import annotations

import asyncio
import json
import sys

import aiohttp
from horde_sdk.ai_horde_api.ai_horde_clients import (
    AIHordeAPIAsyncClientSession,
    AIHordeAPIAsyncSimpleClient,
    AIHordeAPISimpleClient,
)
from horde_sdk.ai_horde_api.apimodels import (
    ImageGenerateAsyncDryRunResponse,
    ImageGenerateAsyncRequest,
    ImageGenerationInputPayload,
)

SMALL = {"width": 64, "height": 64, "steps": 4, "n": 1}


async def main(apikey: str, other: str) -> None:
    """Ask for pictures in the ways that the SDK has; print what came as a line of JSON each."""

    def say(what: str, **facts: object) -> None:
        print(json.dumps({"what": what, **facts}, default=str), flush=True)

    simple = AIHordeAPISimpleClient()
    asked = ImageGenerateAsyncRequest(
        apikey=apikey, prompt="a fox in the snow", models=[], params=ImageGenerationInputPayload(**{**SMALL, "n": 2})
    )
    status, job = simple.image_generate_request(asked)
    say(
        "generated",
        job=job,
        images=len(status.generations),
        states=[generation.state for generation in status.generations],
    )
    picture = simple.download_image_from_generation(status.generations[0])
    say("downloaded", size=picture.size)

    async with aiohttp.ClientSession() as http, AIHordeAPIAsyncClientSession(http) as session:
        client = AIHordeAPIAsyncSimpleClient(http, session)
        asked = ImageGenerateAsyncRequest(
            apikey="0000000000",
            prompt="a lighthouse ### blurry",
            models=[],
            params=ImageGenerationInputPayload(**SMALL, seed="a word"),
        )
        status, job = await client.image_generate_request(asked)
        say(
            "generated anonymously",
            job=job,
            shared=status.shared,
            seeds=[generation.seed for generation in status.generations],
        )
        first, _ = await client.download_image_from_generation(status.generations[0])
        say("downloaded anonymously", size=first.size)

        priced = await session.submit_request(
            ImageGenerateAsyncRequest(
                apikey=apikey, prompt="x", models=[], dry_run=True, params=ImageGenerationInputPayload(**SMALL)
            ),
            ImageGenerateAsyncDryRunResponse,
        )
        say("priced", kudos=getattr(priced, "kudos", None), kind=type(priced).__name__)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
