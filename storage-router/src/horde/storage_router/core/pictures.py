"""What a picture is here: its format, its size, and how large it may be."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from horde.storage_router.core.errors import NotAnImage, TooLarge, WrongDimensions

MAX_METADATA_BYTES = 1 << 20
"""Profiles, Exif, XMP and text of one file, together, as stored and as inflated."""
MAX_INFLATED_BYTES = MAX_METADATA_BYTES
MAX_PARTS = 16_384
"""Chunks or segments of one file."""


class ImageFormat(Enum):
    """How a picture is encoded; the value is the word in tokens and the ending of file names."""

    PNG = "png"
    JPEG = "jpg"
    WEBP = "webp"

    @property
    def media_type(self) -> str:
        return "image/jpeg" if self is ImageFormat.JPEG else f"image/{self.value}"


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a file and its picture may be."""

    max_bytes: int
    max_pixels: int

    def check_pixels(self, width: int, height: int) -> None:
        """Raise TooLarge, or NotAnImage for a picture without area."""
        if width < 1 or height < 1:
            raise NotAnImage.because("it has no area")
        if width * height > self.max_pixels:
            raise TooLarge.over(self.max_pixels, "pixels")


@dataclass(frozen=True, slots=True)
class Picture:
    """What the header of a whole file says."""

    format: ImageFormat
    width: int
    height: int

    def check_size(self, width: int, height: int) -> None:
        """Raise WrongDimensions unless it is exactly this large."""
        if (self.width, self.height) != (width, height):
            raise WrongDimensions.between((width, height), (self.width, self.height))
