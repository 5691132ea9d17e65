"""Pictures made larger by a network, as spandrel loads it; in tiles, so that memory does not bound the size."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from horde.worker_agent.core.postprocessors import ToolFile
from horde.worker_agent.painters.shelf import is_out_of_memory

if TYPE_CHECKING:
    from PIL.Image import Image

TILE = 256
"""The side of what is computed at once, pixels of the source."""
SMALLEST_TILE = 64
OVERLAP = 16
"""How much of its surroundings each tile sees on every side, pixels of the source."""


def load_network(file: ToolFile, device: str, purposes: frozenset[str]) -> Any:
    """A network that is for one of these purposes. Raises whatever is wrong with it."""
    # From safetensors alone: the setting takes no other file.
    network = import_module("spandrel").ModelLoader(device=device).load_from_file(file.path)
    if network.purpose not in purposes:
        raise ValueError(f"{file.path} is for {network.purpose}, and {' or '.join(sorted(purposes))} is wanted")
    return network.eval()


def run(network: Any, image: Image) -> Image:
    """What a network makes of a picture, all of it at once."""
    from PIL import Image as Images

    torch: Any = import_module("torch")
    numpy: Any = import_module("numpy")
    pixels = torch.from_numpy(numpy.asarray(image.convert("RGB"), dtype=numpy.float32) / 255)
    with torch.inference_mode():
        computed = network(pixels.permute(2, 0, 1)[None].to(network.device))[0]
    values = computed.float().clamp(0, 1).permute(1, 2, 0).mul(255).round().byte().cpu().numpy()
    return Images.fromarray(values)


class Upscaler:
    """One network, which enlarges by its own factor."""

    def __init__(self, file: ToolFile, device: str) -> None:
        self._network = load_network(file, device, frozenset({"SR"}))
        self.factor = int(self._network.scale)
        if self.factor < 2:
            raise ValueError(f"{file.path} makes nothing larger")
        self._tile = TILE

    def __call__(self, image: Image, look: Callable[[], None]) -> Image:
        """The picture, enlarged once. Raises what `look` raises between two tiles."""
        while True:
            try:
                return in_tiles(image, self._tile, self.factor, lambda part: run(self._network, part), look)
            except Exception as error:
                if not is_out_of_memory(error) or self._tile <= SMALLEST_TILE:
                    raise
                self._tile //= 2


def in_tiles(
    image: Image, tile: int, factor: int, enlarge: Callable[[Image], Image], look: Callable[[], None]
) -> Image:
    """A picture that is enlarged part by part, each with something of its surroundings."""
    from PIL import Image as Images

    out = Images.new("RGB", (image.width * factor, image.height * factor))
    for top in range(0, image.height, tile):
        for left in range(0, image.width, tile):
            look()
            right, bottom = min(left + tile, image.width), min(top + tile, image.height)
            seen = (
                max(0, left - OVERLAP),
                max(0, top - OVERLAP),
                min(right + OVERLAP, image.width),
                min(bottom + OVERLAP, image.height),
            )
            part = enlarge(image.crop(seen))
            inner = [(left - seen[0]), (top - seen[1]), (right - seen[0]), (bottom - seen[1])]
            out.paste(part.crop(tuple(factor * side for side in inner)), (left * factor, top * factor))  # type: ignore[arg-type]
    return out


def enlarged(image: Image, factor: int, upscaler: Any, look: Callable[[], None]) -> Image:
    """A picture so many times as large: as often as it takes, then brought to the size exactly."""
    from PIL.Image import Resampling

    size = (image.width * factor, image.height * factor)
    done = image.convert("RGB")
    while done.width < size[0]:
        done = upscaler(done, look)
    if done.size != size:
        done = done.resize(size, Resampling.LANCZOS)
    if image.mode == "RGBA":
        # What is transparent is no picture that a network knows.
        done.putalpha(image.getchannel("A").resize(size, Resampling.LANCZOS))
    return done
