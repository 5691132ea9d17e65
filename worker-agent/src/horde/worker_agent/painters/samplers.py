"""Samplers: the contract's names, diffusers' classes, and what a model can be painted with."""

from __future__ import annotations

import inspect
from typing import Any

from horde.worker_agent.core.jobs import Deviation, DeviationKind, Picture, Sampler

CLASSES = {
    Sampler.DDIM: "DDIMScheduler",
    Sampler.EULER: "EulerDiscreteScheduler",
    Sampler.EULER_ANCESTRAL: "EulerAncestralDiscreteScheduler",
    Sampler.HEUN: "HeunDiscreteScheduler",
    Sampler.DPM2: "KDPM2DiscreteScheduler",
    Sampler.DPM2_ANCESTRAL: "KDPM2AncestralDiscreteScheduler",
    Sampler.DPMPP_2M: "DPMSolverMultistepScheduler",
    Sampler.UNIPC: "UniPCMultistepScheduler",
    Sampler.DDPM: "DDPMScheduler",
    Sampler.DEIS: "DEISMultistepScheduler",
    Sampler.LCM: "LCMScheduler",
}
KARRAS = "use_karras_sigmas"


def offered_samplers(default: Any) -> frozenset[Sampler]:
    """What a model with this scheduler can be painted with."""
    compatible = {kind.__name__ for kind in default.compatibles} | {type(default).__name__}
    if "DDIMScheduler" in compatible:
        # Of the same family, though diffusers does not list it.
        compatible.add(CLASSES[Sampler.LCM])
    return frozenset(sampler for sampler, name in CLASSES.items() if name in compatible)


def choose_sampler(default: Any, picture: Picture) -> tuple[Any, list[Deviation]]:
    """A scheduler for one picture (they keep state, so each gets its own), and what is not as asked."""
    import diffusers

    deviations = []
    kind = type(default)
    if picture.sampler is not Sampler.DEFAULT:
        if picture.sampler in offered_samplers(default):
            kind = getattr(diffusers, CLASSES[picture.sampler])
        else:
            asked, done = picture.sampler.name, kind.__name__
            deviations.append(Deviation(DeviationKind.SUBSTITUTED, "sampler", asked, done))
    parameters = inspect.signature(kind.__init__).parameters
    options: dict[str, Any] = {}
    if KARRAS in parameters:
        options[KARRAS] = picture.karras
    elif picture.karras:
        deviations.append(Deviation(DeviationKind.OMITTED, "schedule", "KARRAS"))
    if "original_inference_steps" in parameters:
        # LCM distils so many steps, and refuses to do more.
        options["original_inference_steps"] = max(50, picture.steps)
    return kind.from_config(default.config, **options), deviations
