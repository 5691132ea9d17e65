"""What a pipeline is told in words: as they stand where they fit, in chunks where it has CLIP's short window, else cut.

A prompt that fits and has no weights goes to the pipeline as text, so its picture is diffusers' own. A longer or
weighted one is encoded here, for models whose words are CLIP's alone: in chunks of the window's size, laid end to end,
each word drawn away from (or towards) what an empty prompt says, by its weight. What a pipeline cannot read is named.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from horde.worker_agent.core import emphasis
from horde.worker_agent.core.emphasis import Emphasised
from horde.worker_agent.core.jobs import Deviation, DeviationKind
from horde.worker_agent.painters.families import parameters
from horde.worker_agent.painters.inversions import Taught, laid, split

LONGEST_WINDOW = 512
"""The longest that Flux and Stable Diffusion 3 take of T5's tokens."""
_STRETCHABLE = ("Flux", "StableDiffusion3")
_TAIL_CHARACTERS = 60
"""How much is told of the last words that were read."""


@dataclass(frozen=True, slots=True)
class Reader:
    """A tokenizer, the encoder behind it, and how many tokens the two take."""

    tokenizer: Any
    encoder: Any
    window: int

    def tokens(self, text: str) -> list[int]:
        """With the marks at both ends, uncut."""
        numbers: list[int] = self.tokenizer(text, truncation=False, verbose=False).input_ids
        return numbers


def readers(pipeline: Any) -> list[Reader]:
    """What reads a pipeline's prompt."""
    found = []
    longest = parameters(pipeline).get("max_sequence_length")
    for suffix in ("", "_2", "_3"):
        tokenizer = getattr(pipeline, f"tokenizer{suffix}", None)
        encoder = getattr(pipeline, f"text_encoder{suffix}", None)
        if tokenizer is None or encoder is None:
            continue
        if _is_clip(encoder):
            window = int(min(tokenizer.model_max_length, encoder.config.max_position_embeddings))
        else:
            window = int(longest.default if longest is not None else tokenizer.model_max_length)
        found.append(Reader(tokenizer, encoder, window))
    return found


def can_be_taught(pipeline: Any) -> list[Any]:
    """The encoders that take textual inversions, in their order; none, if this pipeline takes none."""
    found = readers(pipeline)
    return [reader.encoder for reader in found] if found and _reads_clip_alone(pipeline, found) else []


def say(
    pipeline: Any,
    prompt: str,
    negative_prompt: str | None,
    clip_skip: int,
    deviations: list[Deviation],
    taught: Sequence[Taught] = (),
) -> dict[str, Any]:
    """The arguments that carry both prompts; None: the pipeline takes no second one."""
    wanted = {"prompt": emphasis.read(prompt)}
    if negative_prompt is not None:
        wanted["negative_prompt"] = emphasis.read(negative_prompt)
    for field, words in wanted.items():
        if words.not_understood:
            asked = ", ".join(words.not_understood)
            deviations.append(Deviation(DeviationKind.REINTERPRETED, field, asked, "read as plain words"))
    found = readers(pipeline)
    if not found:
        return {field: words.text for field, words in wanted.items()}
    if _reads_clip_alone(pipeline, found):
        fits = all(len(reader.tokens(words.text)) <= reader.window for reader in found for words in wanted.values())
        if fits and not taught and not any(words.weighted for words in wanted.values()):
            return {field: words.text for field, words in wanted.items()}
        return _Encoding(pipeline, found, clip_skip, taught).arguments(wanted)
    return _as_text(pipeline, max(found, key=lambda reader: reader.window), wanted, deviations)


class NotTogether(Exception):
    """What several pictures say cannot be said in one pass."""


def together(encodings: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The arguments of several pictures as those of one pass; of one picture, as they are. Raises NotTogether."""
    first, *others = encodings
    if not others:
        return first
    if any(one.keys() != first.keys() for one in others):
        raise NotTogether
    torch: Any = import_module("torch")
    joined: dict[str, Any] = {}
    for name, value in first.items():
        values = [value, *(one[name] for one in others)]
        if isinstance(value, str):
            joined[name] = values
        elif isinstance(value, torch.Tensor):
            if any(tensor.shape != value.shape for tensor in values):
                raise NotTogether
            joined[name] = torch.cat(values)
        elif any(other != value for other in values):
            raise NotTogether
        else:
            joined[name] = value
    return joined


def _as_text(
    pipeline: Any, reader: Reader, wanted: dict[str, Emphasised], deviations: list[Deviation]
) -> dict[str, Any]:
    """The words without weights, and a longer window where there is one; what is past it is named."""
    arguments: dict[str, Any] = {}
    window = reader.window
    for field, words in wanted.items():
        arguments[field] = words.text
        if words.weighted:
            asked = ", ".join(f"({part}:{weight:g})" for part, weight in words.parts if weight != 1.0)
            deviations.append(Deviation(DeviationKind.REINTERPRETED, field, asked, "the words without their weights"))
        count = len(reader.tokens(words.text))
        if count > reader.window and type(pipeline).__name__.startswith(_STRETCHABLE) and reader.window > 77:
            window = max(window, min(count, LONGEST_WINDOW))
            arguments["max_sequence_length"] = window
    for field, words in wanted.items():
        tokens = reader.tokens(words.text)
        if len(tokens) > window:
            read = reader.tokenizer.decode(tokens[: window - 1], skip_special_tokens=True)
            done = f"the first {window}, up to: {read[-_TAIL_CHARACTERS:]}"
            deviations.append(Deviation(DeviationKind.TRUNCATED, field, f"{len(tokens)} tokens", done))
    return arguments


def _is_clip(encoder: Any) -> bool:
    return type(encoder).__name__ in ("CLIPTextModel", "CLIPTextModelWithProjection")


def _reads_clip_alone(pipeline: Any, found: list[Reader]) -> bool:
    """Whether the words are CLIP's, one after the other: SD 1 and 2, and SDXL. Others take them otherwise too."""
    known = parameters(pipeline)
    return (
        getattr(pipeline, "unet", None) is not None
        and {"prompt_embeds", "negative_prompt_embeds"} <= known.keys()
        and len(found) == (2 if "pooled_prompt_embeds" in known else 1)
        and all(_is_clip(reader.encoder) for reader in found)
    )


class _Encoding:
    """Encodes prompts of any length with the CLIPs of one pipeline, as the pipeline does with those that fit."""

    def __init__(self, pipeline: Any, found: list[Reader], clip_skip: int, taught: Sequence[Taught] = ()) -> None:
        self._torch: Any = import_module("torch")
        self._pipeline = pipeline
        self._readers = found
        self._clip_skip = clip_skip
        self._taught = taught
        self._wide = "pooled_prompt_embeds" in parameters(pipeline)
        """SDXL's way: two encoders beside each other, the layer before the last, and a summary."""

    def arguments(self, wanted: dict[str, Emphasised]) -> dict[str, Any]:
        """Embeddings of both prompts, equally long."""
        negative = wanted.get("negative_prompt") or emphasis.read("")
        # SDXL's default: no negative prompt at all is all zeros.
        zeros = self._wide and not negative.text and self._pipeline.config.force_zeros_for_empty_prompt
        prompt = wanted["prompt"]
        chunks = [max(self._chunks(reader, words) for words in (prompt, negative)) for reader in self._readers]
        # Encoders that lie beside each other must be equally long.
        count = max(chunks)
        encoded = {"prompt_embeds": self._encoded(prompt, count, self._clip_skip)}
        encoded["negative_prompt_embeds"] = (
            # No layers are left out for it: so diffusers has it, and so a prompt paints the same whatever its length.
            self._torch.zeros_like(encoded["prompt_embeds"]) if zeros else self._encoded(negative, count, 0)
        )
        if self._wide:
            encoded["pooled_prompt_embeds"] = self._pooled(prompt)
            pooled = self._torch.zeros_like(encoded["pooled_prompt_embeds"]) if zeros else self._pooled(negative)
            encoded["negative_pooled_prompt_embeds"] = pooled
        return encoded

    def _encoded(self, words: Emphasised, count: int, clip_skip: int) -> Any:
        return self._torch.cat([self._by(reader, words, count, clip_skip) for reader in self._readers], dim=-1)

    def _by(self, reader: Reader, words: Emphasised, count: int, clip_skip: int) -> Any:
        torch = self._torch
        tokens, weights = self._tokens(reader, words)
        room = reader.window - 2
        laid = []
        empty = self._layer(reader, [], clip_skip) if words.weighted else None
        for start in range(0, count * room, room):
            hidden = self._layer(reader, tokens[start : start + room], clip_skip)
            if empty is not None:
                factors = torch.ones(reader.window, dtype=hidden.dtype, device=hidden.device)
                part = weights[start : start + room]
                factors[1 : 1 + len(part)] = torch.tensor(part, dtype=hidden.dtype)
                hidden = empty + (hidden - empty) * factors[None, :, None]
            laid.append(hidden)
        return torch.cat(laid, dim=1)

    def _pooled(self, words: Emphasised) -> Any:
        """The summary: of the first chunk, where the subject usually is."""
        reader = self._readers[-1]
        tokens, _ = self._tokens(reader, words)
        return self._states(reader, tokens[: reader.window - 2])[0]

    def _layer(self, reader: Reader, tokens: list[Any], clip_skip: int) -> Any:
        states = self._states(reader, tokens)
        if self._wide:
            return states.hidden_states[-(clip_skip + 2)]
        if not clip_skip:
            return states[0]
        # Where transformers keeps the last norm differs by version.
        encoder = getattr(reader.encoder, "text_model", reader.encoder)
        return encoder.final_layer_norm(states.hidden_states[-(clip_skip + 1)])

    def _chunks(self, reader: Reader, words: Emphasised) -> int:
        room = reader.window - 2
        return max(1, -(-len(self._tokens(reader, words)[0]) // room))

    def _tokens(self, reader: Reader, words: Emphasised) -> tuple[list[Any], list[float]]:
        """The tokens without marks, each a number or the vector of a word that was taught, and the weight of each."""
        tokens: list[Any] = []
        weights: list[float] = []
        number = next(number for number, known in enumerate(self._readers) if known is reader)
        for text, weight in words.parts:
            for part in split(text, self._taught):
                if isinstance(part, Taught):
                    numbers = list(part.vectors[number])
                else:
                    numbers = reader.tokenizer(
                        part, add_special_tokens=False, truncation=False, verbose=False
                    ).input_ids
                tokens += numbers
                weights += [weight] * len(numbers)
        return tokens, weights

    def _states(self, reader: Reader, tokens: list[Any]) -> Any:
        """What the encoder makes of one window: both marks and what lies between them."""
        marks = reader.tokenizer
        padding = [marks.pad_token_id] * (reader.window - 2 - len(tokens))
        vectors = [(place, token) for place, token in enumerate(tokens, 1) if not isinstance(token, int)]
        # In place of a vector any word will do that ends nothing.
        word = next(number for number in range(len(marks)) if number not in marks.all_special_ids)
        between = [token if isinstance(token, int) else word for token in tokens]
        numbers = [marks.bos_token_id, *between, marks.eos_token_id, *padding]
        with laid(reader.encoder, vectors):
            return reader.encoder(
                self._torch.tensor([numbers], device=reader.encoder.device), output_hidden_states=True
            )
