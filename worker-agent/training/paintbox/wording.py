"""The tokenizer and the text encoder, taught to read before any painting starts.

The encoder learns to name every part of the request from its caption. That takes two minutes, and it spares the UNet
from learning to read and to paint at once, which is what made an earlier trial slow.
"""
# ruff: noqa: T201 - a command line tool reports on its progress

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import torch
from diffusers.models.embeddings import TextTimeEmbedding
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import nn
from torch.nn import functional
from transformers import CLIPTextModel, CLIPTokenizer

from .parts import TOKENS, build_text_encoder
from .words import COLOURS, OBJECTS, PLACES, SHAPES, TIMES, Mixture, Spec, draw_spec, write_caption

_GENERIC = (
    "beautiful photo painting drawing illustration picture of the with and in on a an at portrait landscape man woman "
    "girl boy person dog horse dragon knight robot castle river lake bridge street night day light dark bright small "
    "big tiny huge two three many old new cute funny style art realistic anime cartoon watercolor oil pencil sketch "
    "high low quality detailed blurry ugly bad"
)
_ANSWERS: dict[str, tuple[str, ...]] = {
    "thing": ("", *SHAPES, *OBJECTS),
    "colour": ("", *COLOURS),
    "ground": ("", *COLOURS),
    "place": ("", *PLACES),
    "time": ("", *TIMES),
}
_MIXTURE = Mixture(shape=0.4, object_on_colour=0.25, object_in_place=0.2)


def build_tokenizer(folder: Path, seed: int = 5) -> CLIPTokenizer:
    """Learn the byte-pair merges from captions and save a tokenizer that stock CLIPTokenizer loads."""
    rng = random.Random(seed)

    def captions() -> Iterator[str]:
        for _ in range(30_000):
            yield write_caption(draw_spec(rng, _MIXTURE), rng)
        for _ in range(60):
            yield _GENERIC

    trained = Tokenizer(models.BPE(continuing_subword_prefix="", end_of_word_suffix="</w>", unk_token=None))
    trained.normalizer = normalizers.Lowercase()
    trained.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Punctuation(),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    trained.decoder = decoders.BPEDecoder(suffix="</w>")
    trainer = trainers.BpeTrainer(
        vocab_size=1100,
        min_frequency=20,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    trained.train_from_iterator(captions(), trainer)
    learned = sorted(trained.get_vocab(), key=trained.get_vocab().__getitem__)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    symbols = alphabet + [letter + "</w>" for letter in alphabet]
    words = symbols + [word for word in learned if word not in set(symbols)]
    vocabulary = {word: index for index, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    merges = [tuple(pair) for pair in json.loads(trained.to_str())["model"]["merges"]]
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=TOKENS, pad_token="<|endoftext|>")  # noqa: S106
    tokenizer.save_pretrained(folder)
    return tokenizer


def tokenise(tokenizer: CLIPTokenizer, captions: list[str]) -> torch.Tensor:
    """Token ids padded as the pipelines pad them."""
    found = tokenizer(captions, padding="max_length", max_length=TOKENS, truncation=True, return_tensors="pt")
    ids: torch.Tensor = found.input_ids
    return ids


class Reader(nn.Module):
    """The text encoder with the UNet's own pooling and one question for each part of a request."""

    def __init__(self, encoder: CLIPTextModel, pooling: TextTimeEmbedding, width: int) -> None:
        super().__init__()
        self.encoder, self.pooling = encoder, pooling
        self.questions = nn.ModuleDict({part: nn.Linear(width, len(answers)) for part, answers in _ANSWERS.items()})

    def forward(self, ids: torch.Tensor) -> dict[str, torch.Tensor]:
        """Scores of every answer to every question."""
        pooled = self.pooling(self.encoder(ids).last_hidden_state)
        return {part: question(pooled) for part, question in self.questions.items()}


def teach_reading(
    tokenizer: CLIPTokenizer, pooling: TextTimeEmbedding, width: int, steps: int = 1500, batch: int = 96, seed: int = 6
) -> CLIPTextModel:
    """Train a fresh encoder, and the pooling that the UNet goes on to use, to name what captions ask for."""
    rng = random.Random(seed)
    encoder = build_text_encoder(len(tokenizer), tokenizer.bos_token_id, tokenizer.eos_token_id)
    reader = Reader(encoder, pooling, width).train()
    optimizer = torch.optim.AdamW(reader.parameters(), lr=2e-3, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        specs = [draw_spec(rng, _MIXTURE) for _ in range(batch)]
        scores = reader(tokenise(tokenizer, [write_caption(spec, rng) for spec in specs]))
        loss = torch.stack([functional.cross_entropy(scores[part], _answers(specs, part)) for part in _ANSWERS]).sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(reader.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if (step + 1) % 250 == 0:
            print(f"reading step {step + 1} loss {float(loss.detach()):.4f}", flush=True)
    reader.eval()
    print("reading, share of parts named rightly:", measure_reading(reader, tokenizer), flush=True)
    return encoder


@torch.no_grad()
def measure_reading(reader: Reader, tokenizer: CLIPTokenizer, count: int = 1000) -> dict[str, float]:
    """Share of held-out captions in which each part is named rightly."""
    rng = random.Random(99)
    specs = [draw_spec(rng, _MIXTURE, held_out=True) for _ in range(count)]
    scores = reader(tokenise(tokenizer, [write_caption(spec, rng) for spec in specs]))
    return {part: float((scores[part].argmax(1) == _answers(specs, part)).float().mean()) for part in _ANSWERS}


def _answers(specs: list[Spec], part: str) -> torch.Tensor:
    assert part in {field.name for field in fields(Spec)}
    return torch.tensor([_ANSWERS[part].index(getattr(spec, part)) for spec in specs])
