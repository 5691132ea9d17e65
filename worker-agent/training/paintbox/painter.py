"""Train the UNet on composed thumbnails."""
# ruff: noqa: T201 - a command line tool reports on its progress

from __future__ import annotations

import copy
import json
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from .parts import build_scheduler
from .thumbnails import Thumbnails, Variety
from .wording import tokenise
from .words import Mixture, draw_spec, write_caption

# (width, height) in latent cells, share of the batches, and the share of a full batch that is as much work.
_EARLY = (((16, 16), 1.0, 1.0),)
_LATE = (
    ((16, 16), 0.50, 1.0),
    ((24, 24), 0.14, 0.5),
    ((32, 32), 0.14, 0.25),
    ((24, 16), 0.07, 0.7),
    ((16, 24), 0.07, 0.7),
    ((8, 8), 0.04, 1.0),
    ((64, 64), 0.04, 0.07),
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Every choice of the training run."""

    minutes: float = 80.0
    batch: int = 16
    rate: float = 1.2e-3
    warm_up: int = 100
    large_after: float = 0.57
    focus: float = 0.5
    wordless: float = 0.1
    ema: float = 0.998
    mixture: Mixture = field(default_factory=Mixture)
    seed: int = 3


def draw_times(count: int, focus: float, generator: torch.Generator) -> torch.Tensor:
    """Noise levels to train on: a share around the middle, where outlines are decided, the rest from everywhere."""
    middle = torch.randn(count, generator=generator) * 150 + 380
    anywhere = torch.rand(count, generator=generator) * 1000
    chosen = torch.where(torch.rand(count, generator=generator) < focus, middle, anywhere)
    return chosen.clamp(0, 999).long()


class Painter:
    """A training run that can be stopped, saved and continued."""

    def __init__(
        self, unet: UNet2DConditionModel, encoder: CLIPTextModel, tokenizer: CLIPTokenizer, recipe: Recipe, state: Path
    ) -> None:
        self.recipe, self.state = recipe, state
        self.unet = unet.to(memory_format=torch.channels_last).train()
        # The words keep the meaning that reading gave them; only the painting is learned here.
        self.unet.add_embedding.requires_grad_(False)
        self.encoder, self.tokenizer = encoder.eval(), tokenizer
        self.mean = copy.deepcopy(unet).eval()
        self.alphas = build_scheduler().alphas_cumprod
        self.steps, self.seen, self.spent = 0, 0, 0.0
        self.curve: list[dict[str, float]] = []
        self.rng = random.Random(recipe.seed)
        self.generator = torch.Generator().manual_seed(recipe.seed)
        self.parts: dict[tuple[int, int], Thumbnails] = {}
        self.trained = [p for p in self.unet.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.trained, lr=recipe.rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True
        )

    def run(self, on_pause: Callable[[Painter], dict[str, float]], pause_minutes: float) -> None:
        """Train until the recipe's minutes are spent; pauses to measure and save do not count."""
        next_pause, shown = self.spent / 60 + pause_minutes, 0.0
        while self.spent < self.recipe.minutes * 60:
            started = time.monotonic()
            loss = self._step(self.spent / (self.recipe.minutes * 60))
            self.spent += time.monotonic() - started
            shown = loss if shown == 0 else 0.99 * shown + 0.01 * loss
            if self.steps % 100 == 0:
                print(
                    f"step {self.steps} pictures {self.seen} minute {self.spent / 60:.1f} loss {shown:.4f}", flush=True
                )
            if self.spent / 60 >= next_pause or self.spent >= self.recipe.minutes * 60:
                next_pause += pause_minutes
                self.curve.append(
                    {"minutes": self.spent / 60, "steps": self.steps, "pictures": self.seen, **on_pause(self)}
                )
                print(json.dumps(self.curve[-1]), flush=True)
                self.save()

    def _step(self, progress: float) -> float:
        recipe = self.recipe
        sizes = _EARLY if progress < recipe.large_after else _LATE
        (width, height), _, share = self.rng.choices(sizes, [weight for _, weight, _ in sizes])[0]
        count = max(2, round(recipe.batch * share))
        if (width, height) not in self.parts:
            self.parts[width, height] = Thumbnails(
                width, height, Variety().scaled(min(1.0, 256 / (width * height))), recipe.seed
            )
        specs = [draw_spec(self.rng, recipe.mixture) for _ in range(count)]
        captions = [write_caption(spec, self.rng) if self.rng.random() >= recipe.wordless else "" for spec in specs]
        with torch.no_grad():
            words = self.encoder(tokenise(self.tokenizer, captions)).last_hidden_state
        clean = self.parts[width, height].compose(specs, self.rng)
        times = draw_times(count, recipe.focus, self.generator)
        noise = torch.randn(clean.shape, generator=self.generator)
        signal = self.alphas[times].sqrt()[:, None, None, None]
        spread = (1 - self.alphas[times]).sqrt()[:, None, None, None]
        noisy = (signal * clean + spread * noise).contiguous(memory_format=torch.channels_last)
        found = self.unet(noisy, times, words, return_dict=False)[0]
        loss = (found - (signal * noise - spread * clean)).square().mean()
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.rate * min(1.0, (self.steps + 1) / recipe.warm_up) * _decay(progress)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        self.steps += 1
        self.seen += count
        with torch.no_grad():
            keep = min(recipe.ema, self.steps / (self.steps + 15))
            torch._foreach_lerp_(list(self.mean.parameters()), list(self.unet.parameters()), 1 - keep)
        return float(loss.detach())

    def save(self) -> None:
        """Keep everything needed to go on, for this machine only; the exported folder is what is committed."""
        saved = {
            "unet": self.unet.state_dict(),
            "mean": self.mean.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "progress": (self.steps, self.seen, self.spent),
            "curve": self.curve,
        }
        self.state.parent.mkdir(parents=True, exist_ok=True)
        torch.save(saved, self.state.with_suffix(".new"))
        self.state.with_suffix(".new").replace(self.state)

    def restore(self) -> None:
        """Go on from what `save` kept."""
        saved = torch.load(self.state, weights_only=False)
        self.unet.load_state_dict(saved["unet"])
        self.mean.load_state_dict(saved["mean"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.steps, self.seen, self.spent = saved["progress"]
        self.curve = saved["curve"]


def _decay(progress: float) -> float:
    """Full rate for a quarter of the run, then a cosine down to 2 %."""
    late = max(0.0, (progress - 0.25) / 0.75)
    return 0.02 + 0.98 * (0.5 + 0.5 * math.cos(math.pi * min(1.0, late)))
