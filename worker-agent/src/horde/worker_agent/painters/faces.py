"""Faces mended: found by OpenCV's YuNet, turned upright, repaired by a network that spandrel loads, and put back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from horde.worker_agent.core.postprocessors import ToolFile
from horde.worker_agent.painters.upscaling import load_network, run

if TYPE_CHECKING:
    from PIL.Image import Image

Point = tuple[float, float]
FACE_SIDE = 512
"""Of what such networks take and give, pixels."""
UPRIGHT: Sequence[Point] = ((193.0, 239.9), (318.9, 240.2), (256.6, 314.0), (201.3, 371.4), (313.1, 371.2))
"""Where such networks have learnt to find eyes, nose and corners of the mouth, left before right as one looks at it."""
FEATHER = 32
"""How wide the seam is in which the old picture becomes the new, pixels of the face."""
MAX_FACES = 16
LEAST_SCORE = 0.7


class FaceFinder:
    """YuNet, on the processor."""

    def __init__(self, file: ToolFile, device: str) -> None:
        cv2: Any = import_module("cv2")
        self._detector = cv2.FaceDetectorYN.create(str(file.path), "", (320, 320), LEAST_SCORE)

    def __call__(self, image: Image, look: Callable[[], None]) -> list[Sequence[Point]]:
        """By face the five points of `UPRIGHT`, the most certain first."""
        numpy: Any = import_module("numpy")
        self._detector.setInputSize(image.size)
        # It knows pictures with blue first.
        found = self._detector.detect(numpy.ascontiguousarray(numpy.asarray(image.convert("RGB"))[:, :, ::-1]))[1]
        rows = [] if found is None else sorted(found.tolist(), key=lambda row: -row[14])
        return [[(row[at], row[at + 1]) for at in range(4, 14, 2)] for row in rows[:MAX_FACES]]


class FaceRepairer:
    """One network for faces of FACE_SIDE."""

    def __init__(self, file: ToolFile, device: str) -> None:
        self._network = load_network(file, device, frozenset({"FaceSR"}))

    def __call__(self, image: Image, look: Callable[[], None]) -> Image:
        """A face, repaired; of the same size."""
        from PIL.Image import Resampling

        face = image.resize((FACE_SIDE, FACE_SIDE), Resampling.LANCZOS)
        # Faces are taught from -1 to 1; spandrel does that.
        return run(self._network, face).resize(image.size, Resampling.LANCZOS)


def repaired(image: Image, finder: Any, repairer: Any, look: Callable[[], None]) -> Image:
    """The picture with every face that is found in it repaired; as it is, where there is none."""
    from PIL import Image as Images

    done = image.convert("RGB")
    for points in finder(done, look):
        look()
        to_picture = similarity(UPRIGHT, points)
        to_face = similarity(points, UPRIGHT)
        side = (FACE_SIDE, FACE_SIDE)
        # Pillow is told where each pixel of the result comes from.
        face = done.transform(side, Images.Transform.AFFINE, to_picture, Images.Resampling.BICUBIC)
        new = repairer(face, look)
        back = new.transform(done.size, Images.Transform.AFFINE, to_face, Images.Resampling.BICUBIC)
        seam = _seam().transform(done.size, Images.Transform.AFFINE, to_face, Images.Resampling.BILINEAR)
        done = Images.composite(back, done, seam)
    if image.mode == "RGBA":
        done.putalpha(image.getchannel("A"))
    return done


def similarity(source: Sequence[Point], target: Sequence[Point]) -> tuple[float, float, float, float, float, float]:
    """Turn, scale and shift that bring points onto others as near as can be: a, b, c, d, e, f with x' = ax + by + c,
    y' = dx + ey + f."""
    numpy: Any = import_module("numpy")
    rows, values = [], []
    for (x, y), (wanted_x, wanted_y) in zip(source, target, strict=True):
        rows += [[x, -y, 1, 0], [y, x, 0, 1]]
        values += [wanted_x, wanted_y]
    a, b, c, f = numpy.linalg.lstsq(numpy.array(rows), numpy.array(values), rcond=None)[0].tolist()
    return a, -b, c, b, a, f


def _seam() -> Image:
    """White where the repaired face is, black at its edges."""
    from PIL import Image as Images
    from PIL import ImageDraw, ImageFilter

    mask = Images.new("L", (FACE_SIDE, FACE_SIDE), 0)
    ImageDraw.Draw(mask).rectangle((FEATHER, FEATHER, FACE_SIDE - FEATHER, FACE_SIDE - FEATHER), fill=255)
    return mask.filter(ImageFilter.GaussianBlur(FEATHER / 3))
