"""What is behind the subject made transparent, by rembg and the model that the owner named."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from horde.worker_agent.core.postprocessors import ToolFile

if TYPE_CHECKING:
    from PIL.Image import Image


class BackgroundRemover:
    """A model of U2-Net's shape (320 pixels a side in, a mask out), on the processor or where ONNX Runtime likes it."""

    def __init__(self, file: ToolFile, device: str) -> None:
        self._rembg: Any = import_module("rembg")
        # The one kind that downloads nothing; it opens what lies in this folder alone.
        os.environ["U2NET_HOME"] = str(file.path.absolute().parent)
        self._session = self._rembg.new_session("u2net_custom", model_path=str(file.path))

    def __call__(self, image: Image, look: Callable[[], None]) -> Image:
        """The picture with an alpha channel; what was transparent before stays so."""
        from PIL import ImageChops

        done: Image = self._rembg.remove(image.convert("RGB"), session=self._session).convert("RGBA")
        if image.mode == "RGBA":
            done.putalpha(ImageChops.darker(done.getchannel("A"), image.getchannel("A")))
        return done
