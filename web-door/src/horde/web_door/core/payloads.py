"""A job as a worker there wants to hear it, and what it says of its picture as deviations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from horde.web_door.core import names
from horde.web_door.core.bodies import MetadataBody

DEFAULT_GUIDANCE = 7.5
SPOKEN_OF = frozenset({"lora", "ti", "source_image", "source_mask", "information"})
FIELDS = {"lora": "loras", "ti": "textual_inversions", "source_image": "source_image", "source_mask": "mask"}


@dataclass(frozen=True)
class Making:
    """What is asked of the worker where the request left it to the model."""

    sampler: str = ""
    guidance: float | None = None


def payload(image: Mapping[str, Any]) -> tuple[dict[str, Any], Making]:
    """The payload for an ImageSpec (as JSON), and what was chosen for it here."""
    sampler = str(image.get("sampler", "")).removeprefix("SAMPLER_")
    chosen = Making(
        sampler="" if sampler else names.SAMPLERS[names.DEFAULT_SAMPLER],
        guidance=None if "guidance_scale" in image else DEFAULT_GUIDANCE,
    )
    negative = image.get("negative_prompt", "")
    payload: dict[str, Any] = {
        "prompt": image["prompt"] + (f" ### {negative}" if negative else ""),
        "ddim_steps": image["steps"],
        "n_iter": 1,
        "width": image["width"],
        "height": image["height"],
        "seed": str(image["seed"]),
        "sampler_name": names.SAMPLER_NAMES[sampler or chosen.sampler],
        "cfg_scale": image.get("guidance_scale", DEFAULT_GUIDANCE),
        "karras": image.get("schedule", "NOISE_SCHEDULE_KARRAS") == "NOISE_SCHEDULE_KARRAS",
        "clip_skip": image.get("clip_skip", 0) + 1,
        "tiling": image.get("tiling", False),
        "hires_fix": "hires_fix" in image,
        "post_processing": [
            names.POST_PROCESSOR_NAMES[post_processor.removeprefix("POST_PROCESSOR_")]
            for post_processor in image.get("post_processors", [])
        ],
        "denoising_strength": image.get("denoising_strength", 0.75) if "source_image" in image else 1.0,
    }
    if strength := image.get("hires_fix", {}).get("denoising_strength"):
        payload["hires_fix_denoising_strength"] = strength
    if loras := image.get("loras"):
        payload["loras"] = [_lora(lora) for lora in loras]
    if inversions := image.get("textual_inversions"):
        payload["tis"] = [_inversion(inversion) for inversion in inversions]
    return payload, chosen


def source_processing(image: Mapping[str, Any]) -> str:
    """What is done with the source image."""
    if "source_image" not in image:
        return "txt2img"
    return "inpainting" if "mask" in image else "img2img"


def _lora(lora: Mapping[str, Any]) -> dict[str, Any]:
    strength = lora.get("strength", 0.0)
    entry: dict[str, Any] = {"name": lora["name"], "model": strength, "clip": lora.get("clip_strength", strength)}
    if trigger := lora.get("trigger"):
        entry["inject_trigger"] = trigger
    return entry


def _inversion(inversion: Mapping[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": inversion["name"], "strength": inversion.get("strength", 1.0)}
    place = str(inversion.get("place", "")).removeprefix("TEXTUAL_INVERSION_PLACE_")
    if place in ("PROMPT", "NEGATIVE_PROMPT"):
        entry["inject_ti"] = "prompt" if place == "PROMPT" else "negprompt"
    return entry


def deviations(entries: Sequence[MetadataBody]) -> list[dict[str, str]]:
    """What the worker did otherwise, as JSON of Deviation."""
    warnings = []
    for entry in entries:
        if entry.type not in SPOKEN_OF:
            continue
        failed = entry.value == "download_failed"
        words = _line(entry.ref or entry.value)
        warnings.append(
            {
                "kind": "DEVIATION_KIND_OMITTED" if failed else "DEVIATION_KIND_REINTERPRETED",
                "field": FIELDS.get(entry.type, "prompt"),
                "asked": words if failed else "",
                "done": "" if failed else words,
            }
        )
    return warnings[:32]


def _line(text: str) -> str:
    return "".join(character for character in text.strip() if character.isprintable())[:200]


def censored_as(entries: Sequence[MetadataBody], state: str) -> str:
    """Of which category a picture was that the worker withheld."""
    if state == "csam":
        return "csam"
    found = [entry.value for entry in entries if entry.type == "censorship"]
    return _line(found[0])[:64] if found and found[0] else "nsfw"
