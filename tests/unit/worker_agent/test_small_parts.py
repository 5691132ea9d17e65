"""The small pure parts: waiting, throttling, measuring, counting, naming models."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from horde.worker_agent.core import measuring
from horde.worker_agent.core.backoff import Backoff
from horde.worker_agent.core.earnings import Tally, sentence
from horde.worker_agent.core.jobs import MilliKudos
from horde.worker_agent.core.measuring import Measured, max_pixels
from horde.worker_agent.core.settling import Disposition, Settlement
from horde.worker_agent.core.throttle import Throttle
from horde.worker_agent.painters.models import BadModel, find_models


def test_waits_double_up_to_their_limit_and_begin_again_after_a_success() -> None:
    backoff = Backoff(first=1.0, limit=5.0, draw=lambda: 1.0)
    assert [backoff.next() for _ in range(4)] == [1.0, 2.0, 4.0, 5.0]
    backoff.reset()
    assert backoff.next() == 1.0


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 200), st.floats(0, 60))
def test_a_wait_is_never_below_what_was_asked_nor_past_the_limit(drawn: float, tries: int, asked: float) -> None:
    backoff = Backoff(first=0.5, limit=15.0, floor=0.05, draw=lambda: drawn, tries=tries)
    assert asked + 0.05 <= backoff.next(asked) <= asked + 15.0


def test_a_throttle_passes_one_an_interval() -> None:
    throttle = Throttle(1.0)
    assert [throttle.passes(now) for now in (0.0, 0.5, 0.99, 1.0, 1.5, 9.0)] == [True, False, False, True, False, True]


def test_looking_at_a_throttle_does_not_count() -> None:
    throttle = Throttle(1.0)
    assert throttle.ready(0.0)
    assert throttle.ready(0.0)
    assert throttle.passes(0.0)
    assert not throttle.ready(0.5)


def test_a_slow_machine_still_offers_what_its_memory_allows_up_to_the_smallest_offer() -> None:
    slow = Measured(seconds_per_step=60.0, bytes_used=0, bytes_free=64 << 30)
    assert max_pixels(slow) == measuring.SMALLEST_OFFER


def test_little_memory_bounds_the_offer() -> None:
    small = Measured(seconds_per_step=0.001, bytes_used=0, bytes_free=512 << 20)
    assert max_pixels(small) == (256 << 20) // measuring.LEAST_BYTES_PER_PIXEL


def test_memory_that_was_really_used_is_believed_over_the_least() -> None:
    hungry = Measured(seconds_per_step=0.001, bytes_used=10_000 * measuring.BENCHMARK_SIDE**2, bytes_free=4_000_000_000)
    assert max_pixels(hungry) == 200_000


@given(st.floats(0, 1e4), st.integers(0, 1 << 45), st.integers(0, 1 << 45))
def test_an_offer_is_always_within_the_contract(seconds: float, used: int, free: int) -> None:
    assert 64 * 64 <= max_pixels(Measured(seconds, used, free)) <= 4096 * 4096


def settlement(earned: int, spend: int, escrow: int, tax: int) -> Settlement:
    milli = MilliKudos
    return Settlement(milli(earned), milli(spend), milli(escrow), milli(tax))


def test_an_entry_is_told_part_by_part() -> None:
    paid = replace(
        settlement(14_079, 7_039, 7_040, 3_000),
        escrow_reason="owner untrusted",
        base=MilliKudos(10_830),
        multipliers=(("source image", 1_300),),
    )
    assert sentence(paid) == (
        "14.079 kudos of base 10.830 x 1.3 (source image); "
        "7.039 to spend, 7.040 in escrow (owner untrusted); tax burned 3.000"
    )


def test_a_tally_counts_what_was_paid_and_what_was_not() -> None:
    tally = Tally()
    tally.count(Disposition.ACCEPTED, settlement(10, 4, 6, 1))
    tally.count(Disposition.DUPLICATE, None)
    assert (tally.accepted, tally.unpaid, tally.earned, tally.escrow) == (1, 1, 10, 6)


def a_model(folder: Path) -> None:
    """The least that is a model: a pipeline's name, and weights that hold nothing."""
    (folder / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    (folder / "vae").mkdir()
    (folder / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(struct.pack("<Q", 2) + b"{}")


def test_models_are_named_folders_and_hub_ids(tmp_path: Path) -> None:
    a_model(tmp_path)
    (tmp_path / "loras").mkdir()
    (tmp_path / "loras" / "ink.safetensors").touch()
    said = {"recommended": {"guidance": 3.0}, "sizes": {"maximum": 512}}
    (tmp_path / "catalogue.json").write_text(json.dumps(said))
    local, remote = find_models(f"mine={tmp_path}, sd=somebody/something", tmp_path).models
    assert (local.name, local.place, local.hub, local.guidance_scale) == ("mine", str(tmp_path), False, 3.0)
    assert local.loras == {"ink"}
    assert local.max_pixels == 512 * 512
    assert (remote.name, remote.place, remote.hub) == ("sd", "somebody/something", True)


@pytest.mark.parametrize("text", ["a=/no/such/folder", "a", "a=", "=b/c", "a=b/c,a=d/e", "a=word"])
def test_a_model_that_is_not_named_well_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(BadModel):
        find_models(text, tmp_path)


def test_a_model_whose_files_are_not_those_of_its_catalogue_is_refused(tmp_path: Path) -> None:
    a_model(tmp_path)
    listed = [{"path": "unet/weights", "sha256": hashlib.sha256(b"good").hexdigest()}]
    (tmp_path / "catalogue.json").write_text(json.dumps({"files": listed}))
    with pytest.raises(BadModel, match="lacks unet/weights"):
        find_models(f"mine={tmp_path}", tmp_path)
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "weights").write_bytes(b"evil")
    with pytest.raises(BadModel, match="not the file"):
        find_models(f"mine={tmp_path}", tmp_path)
    (tmp_path / "unet" / "weights").write_bytes(b"good")
    assert find_models(f"mine={tmp_path}", tmp_path)


@pytest.mark.parametrize("written", ["not json", "[]", "{}", '{"recommended": {"guidance": "much"}}'])
def test_a_catalogue_that_says_nothing_useful_does_no_harm(written: str, tmp_path: Path) -> None:
    a_model(tmp_path)
    (tmp_path / "catalogue.json").write_text(written)
    assert find_models(f"mine={tmp_path}", tmp_path).models[0].guidance_scale is None
