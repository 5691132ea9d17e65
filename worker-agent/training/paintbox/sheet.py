"""The contact sheet: forty-eight prompts for a person to look at."""

from __future__ import annotations

import textwrap

from diffusers import StableDiffusionPipeline
from PIL import Image, ImageDraw, ImageFont

from .judging import paint

PROMPTS = (
    "a red star on a blue background",
    "a green heart on a white background",
    "a yellow triangle on a purple background",
    "a pink ring on a black background",
    "an orange cross on a cyan background",
    "a blue diamond on a gray background",
    "a white circle on a brown background",
    "a black square on a yellow background",
    "a purple star on a white background",
    "a red heart on a pink background",
    "a cyan triangle on a black background",
    "a brown ring on a yellow background",
    "a white cross on a red background",
    "a green diamond on an orange background",
    "a gray circle on a blue background",
    "a pink square on a green background",
    "an apple on a white background",
    "a tree on a yellow background",
    "a house on a cyan background",
    "a sailboat on a white background",
    "a rocket on a black background",
    "a fish on a pink background",
    "a mushroom on a green background",
    "a car on a gray background",
    "a cat on a blue background",
    "a pumpkin on a purple background",
    "an umbrella on a yellow background",
    "a duck on an orange background",
    "a blue car on a white background",
    "a green apple on a red background",
    "a pink cat on a cyan background",
    "a red umbrella on a gray background",
    "a house in the meadow",
    "a sailboat on the sea at sunset",
    "a rocket in space",
    "a cat in the snow",
    "a car in the city at night",
    "a pumpkin in the forest at night",
    "a duck in the meadow",
    "a tree in the desert",
    "the mountains",
    "the mountains at night",
    "the beach",
    "the sea at sunset",
    "a forest at sunset",
    "the city at night",
    "a snowy landscape",
    "the desert",
)


def draw_sheet(pipeline: StableDiffusionPipeline, seed: int = 1, side: int = 128, columns: int = 8) -> Image.Image:
    """Paint every prompt once, with consecutive seeds and nothing picked over."""
    pictures = paint(pipeline, list(PROMPTS), seed=seed, width=side, height=side)
    caption = 34
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * (side + 8), rows * (side + caption)), (255, 255, 255))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=10)
    for index, (prompt, picture) in enumerate(zip(PROMPTS, pictures, strict=True)):
        left, top = index % columns * (side + 8) + 4, index // columns * (side + caption) + 4
        sheet.paste(Image.fromarray(picture), (left, top))
        draw.text((left, top + side + 2), textwrap.fill(prompt, 26), fill=(0, 0, 0), font=font, spacing=1)
    return sheet
