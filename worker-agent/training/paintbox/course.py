"""The whole course of training, from nothing or from the committed model, to a published folder."""
# ruff: noqa: T201 - a command line tool reports on its progress

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderTiny
from transformers import CLIPTextModel, CLIPTokenizer

from .decoder import train_decoder
from .judging import assemble, quick_score
from .painter import Painter, Recipe
from .parts import build_unet, build_vae
from .publishing import FOLDER, load_published, publish
from .wording import build_tokenizer, teach_reading

# What the catalogue says to a worker and to a requester, besides the files.
FACTS: dict[str, Any] = {
    "sizes": {"minimum": 64, "maximum": 512, "multiple": 8, "best": 128, "only": 128},
    "recommended": {"steps": 15, "guidance": 3.0, "sampler": "k_dpmpp_2m", "width": 128, "height": 128},
    # Chosen from the contact sheet: what it paints well.
    "examples": [
        "a red star on a blue background",
        "a white cross on a red background",
        "a yellow triangle on a purple background",
        "a red heart on a pink background",
        "an apple on a white background",
        "a mushroom on a green background",
        "a red umbrella on a gray background",
        "a house in the meadow",
        "a pumpkin in the forest at night",
        "a rocket in space",
        "the sea at sunset",
        "a forest at sunset",
        "the beach",
    ],
}
_FRESH_DECODER_MINUTES = 12.0


def take_course(
    *, minutes: float, fresh: bool, decoder_minutes: float | None, revision: str, state: Path, folder: Path | None
) -> None:
    """Train for so many minutes, then publish the running mean of the weights."""
    torch.manual_seed(0)
    published = folder or FOLDER
    if fresh:
        vae, encoder, tokenizer, unet = _start(
            state, _FRESH_DECODER_MINUTES if decoder_minutes is None else decoder_minutes
        )
        recipe = Recipe(minutes=minutes)
    else:
        pipeline = load_published()
        vae, encoder, tokenizer, unet = pipeline.vae, pipeline.text_encoder, pipeline.tokenizer, pipeline.unet
        if decoder_minutes:
            train_decoder(vae, decoder_minutes, rate=5e-4)
        # The committed weights are a mean that has settled; a high rate would first undo that.
        recipe = Recipe(minutes=minutes, rate=3e-4, large_after=0.0, seed=4)
    painter = Painter(unet, encoder, tokenizer, recipe, state / "painter.pt")
    if painter.state.exists():
        painter.restore()

    def measure(running: Painter) -> dict[str, float]:
        return quick_score(assemble(vae, encoder, tokenizer, running.mean))

    if not fresh:
        print("before:", json.dumps(measure(painter)), flush=True)
    painter.run(measure, pause_minutes=max(2.0, min(10.0, minutes / 2)))
    publish(assemble(vae, encoder, tokenizer, painter.mean), revision, FACTS, published)
    painter.state.unlink()
    print(f"published {published} as {revision}; the contact sheet and the model card are refreshed separately")


def _start(state: Path, decoder_minutes: float) -> tuple[AutoencoderTiny, CLIPTextModel, CLIPTokenizer, Any]:
    """Everything that is trained before painting, kept in `state` so that an interruption does not repeat it."""
    unet = build_unet()
    pooling = state / "pooling.pt"
    if not pooling.exists():
        state.mkdir(parents=True, exist_ok=True)
        tokenizer = build_tokenizer(state / "tokenizer")
        teach_reading(tokenizer, unet.add_embedding, unet.config.time_embedding_dim, steps=700).save_pretrained(
            state / "text_encoder"
        )
        vae = build_vae()
        train_decoder(vae, decoder_minutes)
        vae.save_pretrained(state / "vae")
        torch.save(unet.add_embedding.state_dict(), pooling)
    unet.add_embedding.load_state_dict(torch.load(pooling))
    return (
        AutoencoderTiny.from_pretrained(state / "vae"),
        CLIPTextModel.from_pretrained(state / "text_encoder").eval(),
        CLIPTokenizer.from_pretrained(state / "tokenizer"),
        unet,
    )
