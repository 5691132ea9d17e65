"""A requester from a picture, with horde-sdk as it comes, of a model that the worker of the trial has."""

from __future__ import annotations

import base64
import io
import json
import sys

from horde_sdk.ai_horde_api.ai_horde_clients import AIHordeAPISimpleClient
from horde_sdk.ai_horde_api.apimodels import (
    ImageGenerateAsyncRequest,
    ImageGenerationInputPayload,
    LorasPayloadEntry,
)
from PIL import Image


def main(apikey: str, model: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "navy").save(buffer, "WEBP")
    asked = ImageGenerateAsyncRequest(
        apikey=apikey,
        prompt="a fox ### blurry",
        models=[model],
        source_image=base64.b64encode(buffer.getvalue()).decode(),
        source_processing="img2img",
        params=ImageGenerationInputPayload(
            width=64,
            height=64,
            steps=4,
            n=1,
            sampler_name="k_euler_a",
            cfg_scale=6.5,
            karras=True,
            clip_skip=2,
            denoising_strength=0.5,
            seed="42",
            loras=[LorasPayloadEntry(name="glow", model=0.5, clip=0.5)],
        ),
    )
    client = AIHordeAPISimpleClient()
    status, job = client.image_generate_request(asked)
    (made,) = status.generations
    references = [entry.ref for entry in made.gen_metadata or []]
    picture = client.download_image_from_generation(made)
    facts = {
        "job": str(job),
        "seed": made.seed,
        "worker": made.worker_name,
        "metadata": references,
        "size": picture.size,
    }
    print(json.dumps({"what": "generated from a picture", **facts, "shared": status.shared}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:3])
