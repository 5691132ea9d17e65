"""What is done to a painted picture before it is encoded: post-processors, each of them an optional extra.

A post-processor is there where its package is installed, its model is the file that the owner named, digest and all,
and it has done its work on a small picture once. What is not there is not offered. Asked for all the same, an upscaler
is refused, for the grant is for a picture of its size; others are left out as a deviation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from horde.worker_agent.core.jobs import Deviation, DeviationKind, Feature
from horde.worker_agent.core.postprocessors import NEEDS, UPSCALES, ToolFile, done_with, features
from horde.worker_agent.painters.backgrounds import BackgroundRemover
from horde.worker_agent.painters.faces import FaceFinder, FaceRepairer, repaired
from horde.worker_agent.painters.judging import NoPicture, check_picture
from horde.worker_agent.painters.one_pass import Painting
from horde.worker_agent.painters.shelf import is_out_of_memory
from horde.worker_agent.painters.steps import Stop
from horde.worker_agent.painters.upscaling import Upscaler, enlarged

if TYPE_CHECKING:
    from PIL.Image import Image

TRIAL_SIDE = 64
Look = Callable[[], None]
"""Is called now and then; raises Stop where nobody wants the picture any more."""
Tool = Callable[[Any, Look], Any]
"""A model in memory: what it makes of a picture, or finds in it."""
Open = Callable[[ToolFile, str], Tool]
"""Opens a model for a device. Raises whatever is wrong with it."""
OPENERS: Mapping[str, Open] = {
    "upscaler": Upscaler,
    "face-repair": FaceRepairer,
    "face-finder": FaceFinder,
    "background": BackgroundRemover,
}


PACKAGES: Mapping[str, str] = {
    "upscaler": "spandrel",
    "face-repair": "spandrel",
    "face-finder": "cv2",
    "background": "rembg",
}
"""By model, what opens it."""


class CannotFinish(Exception):
    """There is no picture of the size that is wanted; the message says why."""


class Finishing:
    """The post-processors of this machine."""

    def __init__(self, files: Iterable[ToolFile] = (), openers: Mapping[str, Open] = OPENERS) -> None:
        self._files = {file.kind: file for file in files}
        self._openers = openers
        self._tools: dict[str, Tool] = {}
        self.problems: dict[str, str] = {}
        """By model, why it is not there."""

    def load(self, device: str) -> None:
        """Open every model that was named, and try it."""
        if not self._files:
            return
        from PIL import Image

        trial = Image.radial_gradient("L").resize((TRIAL_SIDE, TRIAL_SIDE)).convert("RGB")
        for kind, file in self._files.items():
            try:
                _verify(file)
                tool = self._openers[kind](file, device)
                tool(trial, lambda: None)
            except Exception as error:  # noqa: BLE001 - whatever a package or a file makes of it
                self.problems[kind] = f"{type(error).__name__}: {error}"
            else:
                self._tools[kind] = tool

    @property
    def features(self) -> frozenset[Feature]:
        """What may be offered."""
        return features(self._tools)

    def missing(self, names: Sequence[str]) -> str:
        """Why a picture cannot be brought to the size that these make of it; empty: it can."""
        lacking = [name for name in names if name in UPSCALES and name not in done_with(self._tools)]
        return f"{lacking[0]}: there is no upscaler here" if lacking else ""

    def finish(self, painting: Painting, names: Sequence[str], look: Look) -> Painting:
        """The picture with everything done to it, in order. Raises CannotFinish, and what `look` raises."""
        image, deviations = painting.image, list(painting.deviations)
        for number, name in enumerate(names):
            look()
            why = "it is not to be had here"
            if name in done_with(self._tools):
                try:
                    image = self._applied(name, image, look)
                    continue
                except Stop:
                    raise
                except Exception as error:  # noqa: BLE001 - it says nothing of the model that has painted
                    why = f"{type(error).__name__}: {error}"
                    self._doubt(name, error)
            if name in UPSCALES:
                raise CannotFinish(f"{name}: {why}")
            deviations.append(Deviation(DeviationKind.OMITTED, f"post_processors[{number}]", f"{name}: {why}"))
        return replace(painting, image=image, deviations=tuple(deviations))

    def _applied(self, name: str, image: Image, look: Look) -> Image:
        if name in UPSCALES:
            done = enlarged(image, UPSCALES[name], self._tools["upscaler"], look)
        elif name == "FACE_REPAIR":
            done = repaired(image, self._tools["face-finder"], self._tools["face-repair"], look)
        else:
            done = self._tools["background"](image, look)
        check_picture(done)
        return done

    def _doubt(self, name: str, error: Exception) -> None:
        """What raises at a picture as any other is offered no more until the next start."""
        if isinstance(error, NoPicture) or is_out_of_memory(error):
            return
        for kind in NEEDS[name]:
            self._tools.pop(kind, None)
            self.problems[kind] = f"{name} failed: {type(error).__name__}: {error}"


def missing_for(file: ToolFile) -> str:
    """What can be said at once against a model, without opening it; empty: nothing."""
    if find_spec(PACKAGES[file.kind]) is None:
        return f"{PACKAGES[file.kind]} is not installed: pip install 'horde-mesh[worker,post-processing]'"
    try:
        _verify(file)
    except (OSError, ValueError) as error:
        return str(error)
    return ""


def _verify(file: ToolFile) -> None:
    """Raise ValueError, OSError unless the file is there and what its owner named."""
    with file.path.open("rb") as opened:
        if hashlib.file_digest(opened, "sha256").hexdigest() != file.sha256:
            raise ValueError(f"{file.path} is not the file whose sha256 was named")
