"""Samplers and noise schedules: the contract's names, diffusers' classes, and what a model can be painted with."""

from __future__ import annotations

import inspect
from importlib.util import find_spec
from typing import Any

from horde.worker_agent.core.jobs import Deviation, DeviationKind, NoiseSchedule, Picture, Sampler

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
FLOW = "FlowMatchEulerDiscreteScheduler"
"""Euler's method for models that were trained on straight paths from noise to picture; no other works with them."""
_SWITCHES = {
    NoiseSchedule.KARRAS: "use_karras_sigmas",
    NoiseSchedule.EXPONENTIAL: "use_exponential_sigmas",
    NoiseSchedule.BETA: "use_beta_sigmas",
}
_SPACING = {NoiseSchedule.SGM_UNIFORM: "trailing", NoiseSchedule.SIMPLE: "trailing"}


def offered_samplers(default: Any) -> frozenset[Sampler]:
    """What a model with this scheduler can be painted with, beside its own default."""
    own = type(default).__name__
    if own == FLOW:
        return frozenset({Sampler.EULER})
    if default.config.get("use_flow_sigmas") or default.config.get("prediction_type") == "flow_prediction":
        return frozenset(sampler for sampler, name in CLASSES.items() if name == own)
    compatible = {kind.__name__ for kind in default.compatibles} | {own}
    if "DDIMScheduler" in compatible:
        # Of the same family, though diffusers does not list it.
        compatible.add(CLASSES[Sampler.LCM])
    return frozenset(sampler for sampler, name in CLASSES.items() if name in compatible)


def offered_schedules(default: Any) -> frozenset[NoiseSchedule]:
    """The noise schedules that a model's own sampler can be told."""
    parameters = inspect.signature(type(default).__init__).parameters
    asked = frozenset(NoiseSchedule) - {NoiseSchedule.DEFAULT}
    return frozenset(schedule for schedule in asked if _schedule(schedule, parameters) is not None)


def named(scheduler: Any) -> tuple[Sampler, NoiseSchedule]:
    """A scheduler in the contract's words; DEFAULT where it has none."""
    own = type(scheduler).__name__
    sampler = next((sampler for sampler, name in CLASSES.items() if name == own), Sampler.DEFAULT)
    schedule = next(
        (kind for kind, switch in _SWITCHES.items() if scheduler.config.get(switch)),
        NoiseSchedule.TRAINED,
    )
    return Sampler.EULER if own == FLOW else sampler, schedule


def choose_sampler(default: Any, picture: Picture) -> tuple[Any, list[Deviation]]:
    """A scheduler for one picture (they keep state, so each gets its own), and what is not as asked."""
    import diffusers

    deviations = []
    kind = type(default)
    if picture.sampler is not Sampler.DEFAULT and picture.sampler not in offered_samplers(default):
        deviations.append(Deviation(DeviationKind.SUBSTITUTED, "sampler", picture.sampler.name, kind.__name__))
    elif picture.sampler is not Sampler.DEFAULT and kind.__name__ != FLOW:
        kind = getattr(diffusers, CLASSES[picture.sampler])
    parameters = inspect.signature(kind.__init__).parameters
    options = _schedule(picture.schedule, parameters)
    if options is None:
        deviations.append(Deviation(DeviationKind.OMITTED, "schedule", picture.schedule.name))
        options = {}
    if "original_inference_steps" in parameters:
        # LCM distils so many steps, and refuses to do more.
        options["original_inference_steps"] = max(50, picture.steps)
    return kind.from_config(default.config, **options), deviations


def _schedule(schedule: NoiseSchedule, parameters: Any) -> dict[str, Any] | None:
    """What to tell a scheduler; None if it does not know this schedule. By default nothing: the model has its own."""
    if schedule is NoiseSchedule.DEFAULT:
        return {}
    options: dict[str, Any] = {name: False for name in _SWITCHES.values() if name in parameters}
    if schedule is NoiseSchedule.TRAINED:
        return options
    if schedule in _SPACING:
        return options | {"timestep_spacing": _SPACING[schedule]} if "timestep_spacing" in parameters else None
    switch = _SWITCHES[schedule]
    if switch not in parameters or (schedule is NoiseSchedule.BETA and find_spec("scipy") is None):
        return None
    return options | {switch: True}
