"""Frozen image encoders: an image in, a row of numbers out. They are never trained here.

Any folder of `transformers` that holds an image model will do. So will one of `diffusers`: its painter knows what is in
a picture that it could have painted, by what it sees in the middle of its network, and the picture's own coarse layout
stands beside that. The small model that comes with the worker is one, and works offline.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

WEIGHTS: Final = (".safetensors", ".bin", ".json")
STEP: Final = 50
"""Of a thousand: as much noise as the painter is told is in the picture, which is next to none."""
GRID: Final = 4


class BadEncoder(ValueError):
    """A folder in which there is no image encoder."""


class Encoder(Protocol):
    """Makes rows of numbers of images."""

    name: str
    digest: str
    """SHA-256 over the names and contents of its files."""

    def encode(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """A row for each image."""


def open_encoder(folder: Path | None = None) -> Encoder:
    """The encoder in a folder, or the small model's. Raises BadEncoder."""
    folder = folder or small_model()
    if (folder / "unet").is_dir() and (folder / "vae").is_dir():
        return PainterEncoder(folder)
    if (folder / "config.json").is_file():
        return TransformersEncoder(folder)
    raise BadEncoder(f"{folder} is a folder neither of transformers nor of diffusers")


def small_model() -> Path:
    """The folder of the small model that comes with the worker."""
    found = importlib.util.find_spec("horde.worker_agent")
    for place in (found.submodule_search_locations or ()) if found is not None else ():
        folder = Path(place) / "models" / "paintbox"
        if folder.is_dir():
            return folder
    raise BadEncoder("the small model is not installed: name an encoder's folder, or pip install 'horde-mesh[worker]'")


def digest_of(folder: Path) -> str:
    """SHA-256 over the names and contents of what an encoder is made of."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.suffix in WEIGHTS):
        digest.update(f"{path.relative_to(folder).as_posix()}\n".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


class PainterEncoder:
    """The inner life of a latent diffusion model."""

    def __init__(self, folder: Path) -> None:
        import torch
        from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
        from diffusers.utils import logging

        logging.set_verbosity_error()
        self.name, self.digest = f"painter:{folder.name}", digest_of(folder)
        tiny = "AutoencoderTiny" in (folder / "vae" / "config.json").read_text()
        kind: Any = AutoencoderTiny if tiny else AutoencoderKL
        self._torch = torch
        self._vae = kind.from_pretrained(folder / "vae", local_files_only=True).eval()
        unet: Any = UNet2DConditionModel
        self._unet = unet.from_pretrained(folder / "unet", local_files_only=True).eval()
        self._side = int(self._unet.config.sample_size) * 8
        self._seen: list[Any] = []
        for part in (*self._unet.down_blocks, self._unet.mid_block):
            part.register_forward_hook(lambda module, given, made: self._seen.append(made))

    def encode(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        torch = self._torch
        pixels = np.stack([_square(image, self._side) for image in images]) / 127.5 - 1
        with torch.inference_mode():
            encoded = self._vae.encode(torch.from_numpy(pixels.astype(np.float32)).permute(0, 3, 1, 2))
            latents = encoded.latents if hasattr(encoded, "latents") else encoded.latent_dist.mode()
            words = torch.zeros(len(images), 1, self._unet.config.cross_attention_dim)
            self._seen.clear()
            self._unet(latents, torch.tensor(STEP), encoder_hidden_states=words)
            layers = [made[0] if isinstance(made, tuple) else made for made in self._seen]
            small = torch.nn.functional.adaptive_avg_pool2d
            coarse = [
                small(torch.from_numpy(pixels.astype(np.float32)).permute(0, 3, 1, 2), GRID),
                small(latents, GRID),
            ]
            rows = [part.flatten(1) for part in coarse]
            for layer in layers:
                rows += [layer.mean((2, 3)), layer.std((2, 3))]
            self._seen.clear()
            return np.asarray(torch.cat(rows, 1).numpy(), dtype=np.float32)


class TransformersEncoder:
    """An image model of `transformers`: CLIP and its like by their image features, others by what they pool."""

    def __init__(self, folder: Path) -> None:
        import torch
        from transformers import AutoImageProcessor, AutoModel

        self.name, self.digest = f"transformers:{folder.name}", digest_of(folder)
        self._torch = torch
        processors: Any = AutoImageProcessor
        try:
            self._processor = processors.from_pretrained(folder, local_files_only=True)
            self._model = AutoModel.from_pretrained(folder, local_files_only=True).eval()
        except (OSError, ValueError) as error:
            raise BadEncoder(f"{folder} holds no image model of transformers: {error}") from error

    def encode(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        torch, model = self._torch, self._model
        pixels = self._processor(images=list(images), return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            if hasattr(model, "get_image_features"):
                made = model.get_image_features(pixel_values=pixels)
                made = getattr(made, "pooler_output", made)
            else:
                seen = model(pixel_values=pixels)
                made = getattr(seen, "pooler_output", None)
                made = seen.last_hidden_state.mean(1) if made is None else made
            return np.asarray(made.flatten(1).float().numpy(), dtype=np.float32)


def _square(image: Image.Image, side: int) -> NDArray[np.uint8]:
    return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC), dtype=np.uint8)
