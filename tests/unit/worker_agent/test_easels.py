"""What is painted next, and where."""

from __future__ import annotations

from dataclasses import replace

import pytest

from horde.worker_agent.core.easels import alike, choose, devices, merged
from horde.worker_agent.core.jobs import Capabilities, InputId, InputRef, Lora, ModelOffer, Picture, Sampler

PICTURE = Picture("a", "a red star", 64, 64, steps=4, seed=7)


def easel(*models: str, loaded: str = "", batch: int = 1, pixels: int = 64 * 64) -> Capabilities:
    return Capabilities(
        tuple(ModelOffer(name, loaded=name in loaded, max_pixels=pixels, max_batch=batch) for name in models)
    )


def of(*models: str) -> list[Picture]:
    return [replace(PICTURE, model=name, seed=number) for number, name in enumerate(models)]


def test_words_and_seed_may_differ_in_one_pass_and_nothing_else() -> None:
    assert alike(PICTURE, replace(PICTURE, prompt="a blue house", seed=9))
    assert alike(replace(PICTURE, negative_prompt="x"), replace(PICTURE, negative_prompt="y"))
    others = {
        "model": "b",
        "width": 72,
        "height": 72,
        "steps": 5,
        "negative_prompt": "blue",
        "guidance_scale": 2.0,
        "sampler": Sampler.DDIM,
        "clip_skip": 1,
        "loras": (Lora("l", 1.0),),
        "post_processors": ("UPSCALE_2X",),
        "source_image": InputRef(InputId("i"), b""),
    }
    for name, value in others.items():
        assert not alike(PICTURE, replace(PICTURE, **{name: value})), name  # type: ignore[arg-type]
    started = replace(PICTURE, source_image=InputRef(InputId("i"), b""))
    assert not alike(started, started)


def test_the_oldest_comes_first_and_its_likes_with_it() -> None:
    assert choose(of("a", "b", "a", "a"), easel("a", "b", batch=2), []) == [0, 2]
    assert choose(of("a", "b", "a", "a"), easel("a", "b", batch=4), []) == [0, 2, 3]
    assert choose(of("a", "b"), easel("a", "b"), []) == [0]
    assert choose([], easel("a"), []) == []


def test_a_picture_goes_to_the_easel_that_has_its_model() -> None:
    here, elsewhere = easel("a", "b", loaded="a"), easel("a", "b", loaded="b")
    assert choose(of("b", "a"), here, [elsewhere]) == [1]
    # An easel that has nothing else to do loads it: that beats waiting.
    assert choose(of("b"), here, [elsewhere], at_home=True) == []
    assert choose(of("b"), here, [elsewhere]) == [0]
    # Nobody has it: then the oldest.
    assert choose(of("b", "a"), here, [easel("b")]) == [0]


def test_an_easel_takes_only_what_it_can_do() -> None:
    assert choose(of("b", "a"), easel("a"), []) == [1]
    assert choose([replace(PICTURE, width=128)], easel("a"), []) == []


def test_several_easels_offer_as_one() -> None:
    offered = merged([easel("a", loaded="", pixels=10), easel("a", "b", loaded="b", pixels=5), easel("a", loaded="a")])
    assert [(model.name, model.max_pixels, model.loaded) for model in offered.models] == [
        ("a", 64 * 64, True),
        ("b", 5, True),
    ]


def test_devices_are_read_with_their_models() -> None:
    assert devices("") == {}
    assert devices("cuda:0, cuda:1=sdxl+turbo") == {"cuda:0": frozenset(), "cuda:1": frozenset({"sdxl", "turbo"})}
    assert list(devices("cpu,cpu")) == ["cpu", "cpu#1"]
    for text in ("=a", "cpu="):
        with pytest.raises(ValueError, match="is not DEVICE"):
            devices(text)
