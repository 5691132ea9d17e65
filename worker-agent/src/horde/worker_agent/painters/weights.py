"""What the files of a model say before anything is loaded: whole or cut off, safe or not, and how large."""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

MAX_HEADER_BYTES = 100 * 1024 * 1024
"""safetensors' own limit."""
PICKLED = (".ckpt", ".pt", ".pth", ".bin", ".pkl")
"""Files of these kinds are programs: to load one is to run whatever its author wrote."""
ADDITIONS = ("loras", "embeddings")
"""Folders that are no part of a model."""
_VARIANT = re.compile(r"(?:model|diffusion_pytorch_model)(?:-\d+-of-\d+)?\.([a-z0-9_]+?)(?:-\d+-of-\d+)?\.safetensors")


class BadWeights(Exception):
    """A model's files cannot be used; the message says which and why."""


def check_weights(place: Path) -> None:
    """Raise BadWeights for a folder or file whose weights are cut off, pickled or missing, or that brings code."""
    if place.is_file():
        if place.suffix != ".safetensors":
            raise BadWeights(_unsafe(place.name))
        _header(place)
        return
    files = list(_weight_files(place))
    if not files:
        pickled = next((path for path in sorted(place.rglob("*")) if path.suffix in PICKLED), None)
        if pickled is not None:
            raise BadWeights(_unsafe(str(pickled.relative_to(place))))
        raise BadWeights(f"{place} holds no .safetensors file")
    code = next((path for path in sorted(place.rglob("*.py"))), None)
    if code is not None:
        raise BadWeights(
            f"{code.name} is a program that the model would run: models with code of their own are refused"
        )
    for path in files:
        _header(path)


def values_in(place: Path) -> int:
    """How many numbers the weights are; 0 where that cannot be told."""
    paths = [place] if place.is_file() else list(_weight_files(place, variant_of(place)))
    try:
        return sum(_values(_header(path)) for path in paths)
    except (BadWeights, OSError):
        return 0


def weights_digest(place: Path) -> str:
    """SHA-256 of a model's weights, in hex, as `Making.model_sha256` of the contract has it."""
    if place.is_file():
        return _sha256(_mark(place))
    listing = "".join(
        f"{_sha256(_mark(path))}  {path.relative_to(place).as_posix()}\n"
        for path in sorted(_weight_files(place, variant_of(place)), key=lambda path: path.relative_to(place).as_posix())
    )
    return hashlib.sha256(listing.encode()).hexdigest()


def _mark(path: Path) -> tuple[Path, int, int]:
    """What changes when the file does."""
    found = path.stat()
    return path, found.st_size, found.st_mtime_ns


@lru_cache(maxsize=1024)
def _sha256(mark: tuple[Path, int, int]) -> str:
    """Once for each file: a large model takes seconds, and is loaded again whenever another had to make room."""
    with mark[0].open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def variant_of(folder: Path) -> str | None:
    """The variant that a folder holds where it holds no plain weights, for example `fp16`."""
    for part in sorted(path for path in folder.iterdir() if path.is_dir()):
        names = [path.name for path in part.glob("*.safetensors")]
        variants = {found.group(1) for name in names if (found := _VARIANT.fullmatch(name))}
        plain = [name for name in names if not _VARIANT.fullmatch(name)]
        if variants and not plain:
            return min(variants)
    return None


def _weight_files(folder: Path, variant: str | None = None) -> Iterator[Path]:
    """The weights of a folder's parts; with a variant, those alone where a part has them."""
    for part in sorted(path for path in folder.iterdir() if path.is_dir() and path.name not in ADDITIONS):
        paths = sorted(part.glob("*.safetensors"))
        chosen = [path for path in paths if variant and f".{variant}" in path.name]
        plain = [path for path in paths if not _VARIANT.fullmatch(path.name)]
        yield from chosen or (plain if variant is None and plain else paths)


def _header(path: Path) -> dict[str, object]:
    """What a safetensors file says of its tensors. Raises BadWeights for one that is cut off or is none."""
    size = path.stat().st_size
    with path.open("rb") as opened:
        start = opened.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else MAX_HEADER_BYTES + 1
        if length > MAX_HEADER_BYTES:
            raise BadWeights(f"{path} is not a safetensors file")
        try:
            header = json.loads(opened.read(length))
        except ValueError:
            raise BadWeights(f"{path} is cut off or damaged: its table of tensors cannot be read") from None
    if not isinstance(header, dict):
        raise BadWeights(f"{path} is not a safetensors file")
    ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
    whole = 8 + length + max(ends, default=0)
    if size < whole:
        raise BadWeights(f"{path} is cut off: it has {size} bytes of {whole}")
    return header


def _values(header: dict[str, object]) -> int:
    count = 0
    for name, tensor in header.items():
        if name == "__metadata__" or not isinstance(tensor, dict):
            continue
        values = 1
        for side in tensor["shape"]:
            values *= side
        count += values
    return count


def _unsafe(name: str) -> str:
    return f"{name} is a pickled file, which can run anything when it is opened: get the model as .safetensors"
