"""Pictures that are painted at another size than they are to have: small first, to keep one composition, and then again
from that (*hires fix*); or at the only size that a model paints well, and brought to theirs.
"""

from __future__ import annotations

import io
import math
from dataclasses import replace
from typing import TYPE_CHECKING

from horde.worker_agent.core.jobs import Deviation, DeviationKind, HiresFix, InputId, InputRef, Picture
from horde.worker_agent.painters.pipelines import Pipelines

if TYPE_CHECKING:
    from PIL.Image import Image

DEFAULT_STRENGTH = 0.65
"""The contract's default of `hires_fix.denoising_strength`."""
FIRST = InputId("hires_fix")


def why_in_one_pass(model: Pipelines, picture: Picture) -> str | None:
    """Why a picture that is to be painted small first is not; None if it can be."""
    if picture.source_image is not None:
        return "it starts from a picture, which has its composition"
    if model.image_to_image is None or model.by_mask_alone:
        return "the model cannot go on from what it painted"
    if first_size(model, picture) == (picture.width, picture.height):
        return "the model's best size is no smaller"
    return None


def in_one_pass(model: Pipelines, picture: Picture, deviations: list[Deviation]) -> Picture:
    """The picture without its first pass, where it can have none; that is a deviation."""
    if picture.hires_fix is None or (why := why_in_one_pass(model, picture)) is None:
        return picture
    deviations.append(Deviation(DeviationKind.OMITTED, "hires_fix", "painted small first", f"in one pass: {why}"))
    return replace(picture, hires_fix=None)


def first_size(model: Pipelines, picture: Picture) -> tuple[int, int]:
    """Of the first pass: as asked for, else the size that the model was made for, in the picture's shape; pixels."""
    fix = picture.hires_fix or HiresFix()
    if fix.width and fix.height:
        return fix.width, fix.height
    pipeline = model.text_to_image
    network = getattr(pipeline, "unet", None) or getattr(pipeline, "transformer", None)
    sample = getattr(getattr(network, "config", None), "sample_size", None)
    best = int(sample if isinstance(sample, int) else 128) * int(getattr(pipeline, "vae_scale_factor", 8) or 8)
    scale = min(1.0, best / math.sqrt(picture.width * picture.height))
    step = model.size_multiple
    width, height = (max(step, round(side * scale / step) * step) for side in (picture.width, picture.height))
    return min(width, picture.width), min(height, picture.height)


def first_pass(model: Pipelines, picture: Picture) -> Picture:
    """What is painted first."""
    width, height = first_size(model, picture)
    return replace(picture, width=width, height=height, hires_fix=None)


def second_pass(picture: Picture, painted: Image) -> tuple[Picture, bytes]:
    """What is painted from it, and the input `FIRST`: what was painted, enlarged."""
    from PIL.Image import Resampling

    fix = picture.hires_fix or HiresFix()
    strength = DEFAULT_STRENGTH if fix.denoising_strength is None else fix.denoising_strength
    out = io.BytesIO()
    painted.resize((picture.width, picture.height), Resampling.LANCZOS).save(out, "PNG", compress_level=1)
    again = replace(picture, hires_fix=None, source_image=InputRef(FIRST, b""), denoising_strength=strength)
    return again, out.getvalue()


def share_of_first(picture: Picture) -> float:
    """How much of all steps the first pass has."""
    fix = picture.hires_fix or HiresFix()
    return 1 / (1 + (DEFAULT_STRENGTH if fix.denoising_strength is None else fix.denoising_strength))


def only_size(model: Pipelines, picture: Picture) -> tuple[int, int] | None:
    """The size at which a model that paints but one size well paints a square picture; None: at its own.

    Other shapes are painted at their own size: in their shape at that many pixels outlines came out worse. So is what
    starts from a picture, or must fit to one or to itself.
    """
    side = model.source.only_side
    if not side or picture.inputs or picture.hires_fix is not None or picture.tiling:
        return None
    return (side, side) if picture.width == picture.height != side else None


def at_only_size(picture: Picture, size: tuple[int, int], deviations: list[Deviation]) -> Picture:
    """What is painted instead; a deviation says so."""
    asked, done = (
        f"{picture.width}x{picture.height}",
        f"painted at {size[0]}x{size[1]}, as the model does best, and resized",
    )
    deviations.append(Deviation(DeviationKind.SUBSTITUTED, "width", asked, done))
    return replace(picture, width=size[0], height=size[1])
