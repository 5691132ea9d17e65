"""Which models are here: a name for people, and a folder or a hub id. Reads what a folder says; loads nothing.

A folder may have a `catalogue.json`: `recommended.guidance` is what is used when a request does not say,
`sizes.maximum` the longest side that the model was made for, `sizes.only` the side of the only square pictures that it
paints well, if it is so, and `files` what must lie in the folder, with digests.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from horde.worker_agent.painters.weights import BadWeights, check_weights

DEFAULT_MODEL = "paintbox"
CONTROLS = "controlnets"
"""Within a model's folder: its ControlNets, a folder each."""
MAX_MODELS = 256
"""The contract's limit."""


class BadModel(Exception):
    """A model cannot be used as it was named; the message says why."""


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Where a model comes from."""

    name: str
    place: str
    """A folder in diffusers' layout, one .safetensors file, or a hub id."""
    guidance_scale: float | None = None
    """The model's own default; None: the pipeline's."""
    hub: bool = False
    """Whether the place is a hub id."""
    stand_in: bool = False
    """Whether it is the tiny random pipeline, to be built in its place when it is first loaded."""
    max_pixels: int = 0
    """The model's own limit; 0: none."""
    only_side: int = 0
    """Squares of another side are painted at this one and resized; 0: the model paints others as well."""
    loras: frozenset[str] = frozenset()
    """Names of the LoRAs that lie in the folder."""
    controls: frozenset[str] = frozenset()
    """Names of the ControlNets that lie in the folder."""
    embeddings: frozenset[str] = frozenset()
    """Names of the textual inversions that lie in the folder."""
    kind: str = ""
    """The pipeline's class as the folder names it; empty: not told."""

    @property
    def lora_folder(self) -> str:
        """Where its LoRAs lie."""
        return str(Path(self.place) / "loras")

    @property
    def embedding_folder(self) -> str:
        """Where its textual inversions lie."""
        return str(Path(self.place) / "embeddings")


@dataclass(frozen=True, slots=True)
class FoundModels:
    """What is here of what was named, and why the rest is not."""

    models: tuple[ModelSource, ...]
    problems: tuple[str, ...] = ()


def find_models(text: str, cache: Path) -> FoundModels:
    """The models of a setting `NAME=PLACE,…`; of an empty one, the model that comes with the agent.

    Where that model is missing, a tiny random one in `cache` stands in, which paints but noise. A model that is not
    here or not whole is a problem of its own, not of the others. Raises BadModel for a setting that makes no sense, and
    if none of the models is here.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if len(parts) > MAX_MODELS:
        raise BadModel(f"more than {MAX_MODELS} models")
    if not parts:
        return FoundModels((_default(cache),))
    found: dict[str, ModelSource] = {}
    problems: list[str] = []
    names: set[str] = set()
    for part in parts:
        name, equals, place = part.partition("=")
        if not name or name in names:
            raise BadModel(f"{part!r} is not NAME=FOLDER_OR_HUB_ID with a name of its own")
        if not place and not (not equals and name == DEFAULT_MODEL):
            raise BadModel(f"{part!r} names no folder and no hub id")
        names.add(name)
        try:
            found[name] = _at(name, place, cache)
        except (BadModel, BadWeights) as error:
            problems.append(f"{name}: {error}")
    if not found:
        raise BadModel("; ".join(problems))
    return FoundModels(tuple(found.values()), tuple(problems))


def _at(name: str, place: str, cache: Path) -> ModelSource:
    """The model at a place. Raises BadModel, BadWeights."""
    if not place:
        return _default(cache)
    path = Path(place).expanduser()
    if path.is_dir():
        return _described(name, path)
    if path.is_file():
        check_weights(path)
        return ModelSource(name, str(path))
    if place.startswith((".", "/", "~")) or place.count("/") != 1:
        raise BadModel(f"{place} is no folder here and no hub id")
    return ModelSource(name, place, hub=True)


def _default(cache: Path) -> ModelSource:
    own = _own_model()
    if own is not None:
        return _described(DEFAULT_MODEL, own)
    return ModelSource(DEFAULT_MODEL, str(cache / "tiny-pipeline"), stand_in=True)


def _own_model() -> Path | None:
    """The folder of the model that comes with the agent, if it is whole."""
    folder = Path(str(resources.files("horde.worker_agent"))) / "models" / DEFAULT_MODEL
    return folder if (folder / "model_index.json").is_file() else None


def _described(name: str, folder: Path) -> ModelSource:
    catalogue = _read(folder / "catalogue.json")
    _verify(name, folder, catalogue.get("files"))
    check_weights(folder)
    guidance = _number(catalogue.get("recommended"), "guidance")
    longest = int(_number(catalogue.get("sizes"), "maximum") or 0)
    controls = frozenset(path.parent.name for path in (folder / CONTROLS).glob("*/config.json"))
    loras = frozenset(path.stem for path in (folder / "loras").glob("*.safetensors"))
    kind = _read(folder / "model_index.json").get("_class_name")
    if not isinstance(kind, str):
        raise BadModel(
            f"{folder} is not a model in diffusers' layout: it has no model_index.json that names a pipeline"
        )
    return ModelSource(
        name,
        str(folder),
        guidance,
        max_pixels=longest * longest,
        only_side=int(_number(catalogue.get("sizes"), "only") or 0),
        loras=loras,
        controls=controls,
        embeddings=frozenset(path.stem for path in (folder / "embeddings").glob("*.safetensors")),
        kind=kind,
    )


def _read(path: Path) -> dict[str, object]:
    """What the catalogue says; nothing if it is not there or not one."""
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return description if isinstance(description, dict) else {}


def _number(description: object, key: str) -> float | None:
    value = description.get(key) if isinstance(description, dict) else None
    return float(value) if isinstance(value, int | float) and 0 <= value < 1e6 else None


def _verify(name: str, folder: Path, files: object) -> None:
    """Raise BadModel unless every file that the catalogue names is there, with its digest."""
    if not isinstance(files, list):
        return
    for file in files:
        if not isinstance(file, dict) or not {"path", "sha256"} <= file.keys():
            raise BadModel(f"the catalogue of the model {name} lists a file without its path or digest")
        path = folder / str(file["path"])
        if not path.is_file():
            raise BadModel(f"the model {name} lacks {file['path']}")
        with path.open("rb") as opened:
            if hashlib.file_digest(opened, "sha256").hexdigest() != file["sha256"]:
                raise BadModel(f"{file['path']} of the model {name} is not the file that its catalogue names")
