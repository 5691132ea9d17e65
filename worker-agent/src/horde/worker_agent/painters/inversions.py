"""Textual inversions: words that a model's text encoders are taught, from `embeddings/NAME.safetensors` in its folder.

Nothing in the model is changed for them: where a prompt names one, its vectors are laid in place of the embeddings of
ordinary words, for as long as that prompt is encoded.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from horde.worker_agent.core.emphasis import MOST_WEIGHT
from horde.worker_agent.core.jobs import Deviation, DeviationKind, Picture, TextualInversion
from horde.worker_agent.painters.models import ModelSource

SDXL_PARTS = ("clip_l", "clip_g")
"""What the vectors for each of SDXL's encoders are called in a file, in the order of its encoders."""
MAX_VECTORS = 75


@dataclass(frozen=True, slots=True)
class Taught:
    """A word, and its vectors for each encoder in turn: as many in each, of the encoder's width."""

    name: str
    vectors: tuple[Any, ...]


def fitting(
    encoders: Sequence[Any], source: ModelSource, wanted: Sequence[TextualInversion], deviations: list[Deviation]
) -> list[Taught]:
    """Those that can be had; each other is a deviation with its reason. Without `encoders` none can be taught."""
    found = []
    for number, inversion in enumerate(wanted):
        path = Path(source.embedding_folder) / f"{inversion.name}.safetensors"
        why = ""
        if not encoders:
            why = "this model takes none here"
        elif inversion.foreign or inversion.name not in source.embeddings:
            why = "it is not here"
        elif inversion.sha256 and hashlib.sha256(path.read_bytes()).digest() != inversion.sha256:
            why = "the file of this name here is another"
        elif not 0 < inversion.strength <= MOST_WEIGHT:
            why = f"words weigh above 0 to {MOST_WEIGHT:g} here, and not {inversion.strength:g}"
        else:
            try:
                found.append(Taught(inversion.name, _vectors(path, encoders)))
            except Exception as error:  # noqa: BLE001 - whatever a stranger's file makes of it
                why = f"it is not made for this model: {error}"
        if why:
            asked = f"{inversion.name}: {why}"
            deviations.append(Deviation(DeviationKind.OMITTED, f"textual_inversions[{number}]", asked))
    return found


def placed(picture: Picture, here: Sequence[Taught], deviations: list[Deviation]) -> Picture:
    """The picture with the words put into its prompts that are to be; one that no prompt names is a deviation."""
    prompts = [picture.prompt, picture.negative_prompt]
    names = {word.name for word in here}
    for number, inversion in enumerate(picture.textual_inversions):
        if inversion.name not in names:
            continue
        if inversion.place is not None:
            word = inversion.name if inversion.strength == 1 else f"({inversion.name}:{inversion.strength:g})"
            prompts[inversion.place] = ", ".join(filter(None, (prompts[inversion.place], word)))
        elif not any(is_named(inversion.name, text, here) for text in prompts):
            asked = f"{inversion.name}: no prompt names it"
            deviations.append(Deviation(DeviationKind.OMITTED, f"textual_inversions[{number}]", asked))
    return replace(picture, prompt=prompts[0], negative_prompt=prompts[1])


def is_named(name: str, text: str, words: Sequence[Taught]) -> bool:
    """Whether a text has a word that was taught."""
    return any(isinstance(part, Taught) and part.name == name for part in split(text, words))


def split(text: str, words: Sequence[Taught]) -> Iterator[str | Taught]:
    """A text in parts: what is read as it is, and the words that were taught."""
    if not words:
        yield text
        return
    by_name = {word.name: word for word in words}
    longest_first = sorted(by_name, key=len, reverse=True)
    pattern = re.compile(rf"(?<![\w.-])({'|'.join(map(re.escape, longest_first))})(?![\w.-]*\w)")
    for part in pattern.split(text):
        if part:
            yield by_name.get(part, part)


@contextmanager
def laid(encoder: Any, vectors: Sequence[tuple[int, Any]]) -> Iterator[None]:
    """For as long as the block, an encoder reads these vectors at these places of the only prompt that it is given."""
    if not vectors:
        yield
        return

    def lay(layer: object, given: object, embedded: Any) -> Any:
        embedded = embedded.clone()
        for place, vector in vectors:
            embedded[:, place] = vector.to(embedded)
        return embedded

    hook = encoder.get_input_embeddings().register_forward_hook(lay)
    try:
        yield
    finally:
        hook.remove()


def _vectors(path: Path, encoders: Sequence[Any]) -> tuple[Any, ...]:
    """Raises ValueError, and what safetensors raises."""
    tensors = import_module("safetensors.torch").load_file(path)
    if len(encoders) == 1 and len(tensors) == 1:
        chosen = list(tensors.values())
    elif set(SDXL_PARTS[: len(encoders)]) <= tensors.keys() and len(encoders) > 1:
        chosen = [tensors[name] for name in SDXL_PARTS[: len(encoders)]]
    else:
        raise ValueError(f"it has {', '.join(sorted(tensors))[:60]} for {len(encoders)} text encoders")
    chosen = [tensor[None] if tensor.ndim == 1 else tensor for tensor in chosen]
    widths = [int(encoder.get_input_embeddings().embedding_dim) for encoder in encoders]
    if any(tensor.ndim != 2 for tensor in chosen) or [int(tensor.shape[1]) for tensor in chosen] != widths:
        raise ValueError(f"its vectors are not {' and '.join(map(str, widths))} numbers long")
    if len({len(tensor) for tensor in chosen}) != 1 or not 0 < len(chosen[0]) <= MAX_VECTORS:
        raise ValueError(f"it has not 1 to {MAX_VECTORS} vectors, as many for each text encoder")
    if not all(bool(tensor.isfinite().all()) for tensor in chosen):
        raise ValueError("its vectors are no numbers")
    return tuple(chosen)
