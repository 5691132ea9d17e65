"""What a picture is here: its format, its size, and how large it may be."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, Flag, auto

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


class Change(Flag):
    """What was done to an input so that it is what a viewer shows."""

    NONE = 0
    ORIENTED = auto()
    """Turned or mirrored as its Exif data say."""
    COLOUR_CONVERTED = auto()
    """From its own colours (a profile, CMYK, more than 8 bits a channel) to sRGB with 8 bits."""
    FLATTENED = auto()
    """Its transparent parts were put on white."""
    FIRST_FRAME = auto()
    """Of several pictures or frames, the first."""
    STRIPPED = auto()
    """Its metadata, a second picture or what followed its end were dropped."""
    REENCODED = auto()
    """It is kept in another format than it came in."""


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
