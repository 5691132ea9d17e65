"""Train the decoder: an eightfold enlarger that knows what flat pictures look like."""
# ruff: noqa: T201 - a command line tool reports on its progress

from __future__ import annotations

import copy
import math
import random
import time

import numpy as np
import torch
from diffusers import AutoencoderTiny
from torch.nn import functional

from .parts import LATENT_FACTOR, LATENT_STD
from .scenes import draw_scene
from .words import Mixture, draw_spec

_SIZES = ((128, 0.62), (192, 0.14), (256, 0.14), (512, 0.10))
_CROP = 80
_MIXTURE = Mixture(shape=0.22, object_on_colour=0.4, object_in_place=0.2)


def to_latents(pictures: torch.Tensor) -> torch.Tensor:
    """What the set encoder gives for RGB pictures from 0 to 1, without running it."""
    small = functional.avg_pool2d(pictures, LATENT_FACTOR) * (2 / LATENT_STD) - 1 / LATENT_STD
    return functional.pad(small, (0, 0, 0, 0, 0, 1))


def train_decoder(vae: AutoencoderTiny, minutes: float, seed: int = 1, batch: int = 12, rate: float = 2e-3) -> None:
    """Train in place for so many minutes; the weights kept are the running mean."""
    rng = random.Random(seed)
    generator = torch.Generator().manual_seed(seed)
    pool = [_draw_large(rng) for _ in range(500)]
    decoder = vae.decoder.train()
    mean = copy.deepcopy(decoder)
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=rate, betas=(0.9, 0.99), weight_decay=1e-4)
    started, step, shown = time.monotonic(), 0, 0.0
    while (elapsed := time.monotonic() - started) < minutes * 60:
        progress = elapsed / (minutes * 60)
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 50) * (0.02 + 0.98 * (0.5 + 0.5 * math.cos(math.pi * progress)))
        for _ in range(2):
            pool[rng.randrange(len(pool))] = _draw_large(rng)
        pictures = (
            torch.from_numpy(np.stack([_crop(rng.choice(pool), rng) for _ in range(batch)])).permute(0, 3, 1, 2).float()
            / 255
        )
        latents = to_latents(pictures)
        # The UNet's latents are never perfect: most batches carry a little noise, some a lot.
        spread = 0.2 * torch.rand(batch, 1, 1, 1, generator=generator) ** 1.5
        latents = latents + spread * torch.randn(latents.shape, generator=generator)
        painted = decoder(latents).add(1).div(2)
        loss = functional.l1_loss(painted, pictures)
        for axis in (2, 3):
            loss = loss + 0.5 * functional.l1_loss(painted.diff(dim=axis), pictures.diff(dim=axis))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimizer.step()
        shown = 0.98 * shown + 0.02 * float(loss.detach()) if step else float(loss.detach())
        with torch.no_grad():
            keep = min(0.995, (step + 1) / (step + 15))
            for ours, theirs in zip(mean.parameters(), decoder.parameters(), strict=True):
                ours.lerp_(theirs, 1 - keep)
        step += 1
        if step % 100 == 0:
            print(f"decoder step {step} minute {elapsed / 60:.1f} loss {shown:.4f}", flush=True)
    decoder.load_state_dict(mean.state_dict())
    decoder.eval()


def _draw_large(rng: random.Random) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    size = rng.choices([size for size, _ in _SIZES], [weight for _, weight in _SIZES])[0]
    return draw_scene(draw_spec(rng, _MIXTURE), size, size, rng, supersample=3 if size <= 192 else 2)


def _crop(
    picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], rng: random.Random
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    steps = (picture.shape[0] - _CROP) // LATENT_FACTOR
    top, left = rng.randint(0, steps) * LATENT_FACTOR, rng.randint(0, steps) * LATENT_FACTOR
    crop = picture[top : top + _CROP, left : left + _CROP]
    return crop[:, ::-1] if rng.random() < 0.5 else crop
