"""A requester that is written with the package `aihorde` as it comes: it polls the status alone, and is strict."""

from __future__ import annotations

import asyncio
import json
import os
import sys

from aihorde.client import AIHordeClient
from aihorde.models import GenerationInputStable, ModelGenerationInputStable


async def main(apikey: str, model: str) -> None:
    client = AIHordeClient(apikey, base_url=os.environ["AI_HORDE_URL"])
    asked = GenerationInputStable(
        prompt="a fox",
        models=[model] if model else None,
        params=ModelGenerationInputStable(width=64, height=64, steps=4, n=2),
    )
    status = await client.generate_images(asked)
    made = status.generations or []
    facts = {"images": len(made), "shared": status.shared, "seeds": [image.seed for image in made]}
    print(json.dumps({"what": "generated", **facts}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
