"""A predictor learns from what a data release holds, comes near what raters' disagreement lets anybody reach, and is
evaluated again from its file."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image, ImageDraw
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

from horde.buckets.directory import DirectoryBucket
from horde.data_releases.aesthetics.commands import main
from horde.data_releases.copies import pull
from horde.data_releases.planning import Order
from horde.testkit.data_releases import START, Moment, Sharing, job_id, plain_folder, release


@pytest.fixture
async def sharing(tmp_path: Path) -> AsyncIterator[Sharing]:
    clock = Moment(START)
    async with plain_folder(tmp_path / "shared", clock) as bucket:
        yield Sharing(bucket, clock)


@pytest.fixture
async def releases(sharing: Sharing, tmp_path: Path) -> AsyncIterator[DirectoryBucket]:
    async with plain_folder(tmp_path / "releases", sharing.clock) as bucket:
        yield bucket


def rating(number: int, rater: str, score: int, at: datetime, **more: Any) -> dict[str, Any]:
    told = {"id": job_id(number), "rater": rater, "rating": score, "artifacts": None, "rated_at": at.isoformat()}
    return {**told, "weight": 1.0, **more}


def write(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def paint(number: int) -> tuple[bytes, float]:
    """A picture of 64 pixels, and how beautiful it is: calm and warm is good, crowded and cold is bad. How bright it is
    says nothing."""
    chance = Random(number)
    warmth, crowd, light = chance.uniform(-1, 1), chance.randrange(12), chance.uniform(-40, 40)
    ground = tuple(int(max(0, min(255, 128 + light + part * 60 * warmth))) for part in (1, 0, -1))
    picture = Image.new("RGB", (64, 64), ground)
    draw = ImageDraw.Draw(picture)
    for _ in range(crowd):
        x, y, side = chance.randrange(64), chance.randrange(64), chance.randrange(4, 12)
        draw.ellipse((x, y, x + side, y + side), fill=tuple(chance.randrange(256) for _ in range(3)))
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue(), 5.5 + 1.4 * warmth - 0.25 * (crowd - 5.5)


def type_(*words: str, status: int = 0) -> Result:
    ran = CliRunner().invoke(main, words)
    assert ran.exit_code == status, ran.output
    return ran


NOISE = 1.0
PICTURES = 160


@pytest.mark.slow
async def test_a_predictor_learns_from_a_release_comes_near_its_ceiling_and_is_evaluated_again(
    sharing: Sharing, releases: DirectoryBucket, tmp_path: Path
) -> None:
    chance = Random(1)
    levels = {f"rater{number}": chance.gauss(0, 0.8) for number in range(10)}
    rows, true = [], {}
    for number in range(PICTURES):
        data, worth = paint(number)
        # Every fourth has the prompt of the one before: the two are never on either side of the split.
        prompt = f"picture {number - (number % 4 == 3)}"
        true[await sharing.share(number, prompt=prompt, picture=data)] = worth
        for rater in chance.sample(sorted(levels), 4):
            score = max(1, min(10, round(worth + levels[rater] + chance.gauss(0, NOISE))))
            rows.append(rating(number, rater, score, sharing.clock.at))
    ratings = write(tmp_path / "ratings.jsonl", rows)
    await release(sharing, releases, tmp_path / "state", Order("r1"), ratings)
    copy, out = tmp_path / "copy", tmp_path / "predictor"
    await pull(releases, "r1", copy)

    metrics = json.loads(type_("train", str(copy), "--out", str(out), "--json").stdout)
    by, ceiling = metrics["by"], metrics["ceiling"]
    assert (metrics["images"], metrics["rated"]) == (PICTURES, PICTURES)
    assert 0.8 < ceiling < 1
    assert by["predictor"]["pearson"] > 0.75 * ceiling
    assert by["predictor"]["spearman"] > 0.7 * ceiling
    assert all(abs(by[name]["pearson"]) < by["predictor"]["pearson"] / 2 for name in by if name != "predictor")

    scores = pq.read_table(out / "scores.parquet").to_pylist()
    assert [row["id"] for row in scores] == sorted(true)
    assert all(row["ratings"] == 4 for row in scores)
    held = [row for row in scores if row["held_out"]]
    assert len(held) == metrics["held_out"]
    truth = np.corrcoef([row["aesthetic_score"] for row in held], [true[row["id"]] for row in held])[0, 1]
    assert truth > 0.85
    with Image.open(out / "plot.png") as plot:
        assert plot.size > (500, 300)
    prompts = {row["id"]: row["prompt"] for row in pq.read_table(copy / "metadata.parquet").to_pylist()}
    sides: dict[str, set[bool]] = {}
    for row in scores:
        sides.setdefault(prompts[row["id"]], set()).add(row["held_out"])
    assert {len(side) for side in sides.values()} == {1}

    again = json.loads(type_("evaluate", str(out / "predictor.safetensors"), str(copy), "--json").stdout)
    assert again["by"]["predictor"] == pytest.approx(by["predictor"], abs=1e-9)

    # Any other encoder will do to train, but not for what another one's head was trained upon.
    clip, other = tiny_clip(tmp_path / "clip"), tmp_path / "other"
    told = type_("train", str(copy), "--encoder", str(clip), "--out", str(other)).stdout
    assert "transformers:clip" in told
    assert "ceiling" in told
    made = {path.name: path.read_bytes() for path in other.iterdir()}
    type_("train", str(copy), "--encoder", str(clip), "--out", str(other))
    assert {path.name: path.read_bytes() for path in other.iterdir()} == made
    assert "another encoder" in type_("evaluate", str(out), str(copy), "--encoder", str(clip), status=2).stderr


def tiny_clip(folder: Path) -> Path:
    """A CLIP of a few thousand numbers that has learnt nothing, as `transformers` keeps it."""
    torch.manual_seed(1)
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = {**size, "image_size": 32, "patch_size": 8}
    config = CLIPConfig(text_config={**size, "vocab_size": 64}, vision_config=vision, projection_dim=16)
    CLIPModel(config).save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def test_what_is_no_release_no_encoder_or_no_predictor_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "no finished release" in type_("train", str(tmp_path / "empty"), status=1).stderr
    encoder = ("--encoder", str(tmp_path / "empty"))
    assert "neither" in type_("train", str(tmp_path / "empty"), *encoder, status=2).stderr
    assert "no predictor" in type_("evaluate", str(tmp_path / "empty"), str(tmp_path / "empty"), status=2).stderr
