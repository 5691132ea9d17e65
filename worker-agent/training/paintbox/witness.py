"""A small classifier that has seen only clean renders, as a witness for what a picture shows.

It looks at light and dark alone, without colour: with colour a smear of the right palette would pass for the thing.
"""

from __future__ import annotations

import itertools
import random

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from .scenes import draw_scene
from .scoring import Picture
from .words import OBJECTS, PLACES, TIMES, Mixture, Spec, draw_spec

_SIDE = 64
SCENES = tuple((place, time) for place in PLACES for time in (("",) if place == "space" else TIMES))


class Witness(nn.Module):
    """Names the object of a picture, or its place and time of day."""

    def __init__(self, answers: int) -> None:
        super().__init__()
        widths = (1, 16, 32, 48, 64)
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.2), nn.Linear(64 * 16, answers))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Scores of every answer."""
        found: torch.Tensor = self.layers(pictures)
        return found


def _prepare(pictures: list[Picture]) -> torch.Tensor:
    colours = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
    light = (colours * torch.tensor([0.3, 0.59, 0.11])[:, None, None]).sum(1, keepdim=True)
    light = functional.adaptive_avg_pool2d(light, _SIDE)
    return (light - light.mean((2, 3), keepdim=True)) / (light.std((2, 3), keepdim=True) + 0.03)


def object_spec(rng: random.Random, *, held_out: bool) -> Spec:
    """An object on a colour, in its own colours or tinted."""
    while True:
        spec = draw_spec(rng, Mixture(0.0, 1.0, 0.0), held_out=held_out)
        if spec.thing and spec.ground:
            return spec


def scene_spec(rng: random.Random) -> Spec:
    """A landscape without a thing."""
    place, time = rng.choice(SCENES)
    return Spec(place=place, time=time)


def answer_of(spec: Spec) -> int:
    """The right answer's number."""
    return OBJECTS.index(spec.thing) if spec.thing else SCENES.index((spec.place, spec.time))


def train_witness(kind: str, seed: int = 21, pictures: int = 2400, rounds: int = 7) -> Witness:
    """Train on renders of training combinations only; `kind` is "object" or "scene"."""
    rng = random.Random(seed)
    torch.manual_seed(seed)
    specs = [object_spec(rng, held_out=False) if kind == "object" else scene_spec(rng) for _ in range(pictures)]
    inputs = _prepare([draw_scene(spec, 128, 128, rng, supersample=2) for spec in specs])
    answers = torch.tensor([answer_of(spec) for spec in specs])
    witness = Witness(len(OBJECTS) if kind == "object" else len(SCENES)).train()
    optimizer = torch.optim.AdamW(witness.parameters(), lr=2e-3, weight_decay=0.02)
    for _ in range(rounds):
        for chosen in torch.split(torch.randperm(pictures), 50):
            loss = functional.cross_entropy(
                witness(inputs[chosen] + 0.05 * torch.randn(inputs[chosen].shape)), answers[chosen]
            )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return witness.eval()


@torch.no_grad()
def ask(witness: Witness, specs: list[Spec], pictures: list[Picture]) -> float:
    """Share of pictures in which the witness recognises what was asked for."""
    answers = torch.tensor([answer_of(spec) for spec in specs])
    return float((witness(_prepare(pictures)).argmax(1) == answers).float().mean())
