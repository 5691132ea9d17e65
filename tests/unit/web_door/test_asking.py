"""What AI Horde's bodies ask for, in the mesh's words: nothing is left out in silence."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from horde.web_door.core.asking import Asked, asked, request_id, seed_of, wants_base64
from horde.web_door.core.bodies import GenerateBody, read, unknown_fields
from horde.web_door.core.names import NEAR_SAMPLERS, SAMPLER_NAMES, SAMPLERS
from horde.web_door.core.refusals import Refusal


def asking(**body: Any) -> Asked:
    return asked(read(GenerateBody, {"prompt": "a fox", **body}))


def test_what_is_left_out_gets_their_defaults_or_is_left_to_the_model() -> None:
    wish = asking()
    assert wish.image == {
        "prompt": "a fox",
        "negative_prompt": "",
        "width": 512,
        "height": 512,
        "steps": 30,
        "clip_skip": 0,
        "tiling": False,
        "post_processors": [],
        "loras": [],
        "textual_inversions": [],
    }
    assert (wish.spec["count"], wish.spec["share"], wish.spec["fast_workers_only"]) == (1, False, False)
    assert wish.warnings == []


def test_null_is_as_good_as_nothing() -> None:
    nulls = {name: None for name in GenerateBody.model_fields if name != "prompt"}
    inner = {"params": {"seed": None, "loras": None, "n": None, "control_type": None}}
    assert asking(**{**nulls, **inner}) == asking()


def test_every_setting_is_said_in_the_words_of_the_mesh() -> None:
    wish = asking(
        prompt="a fox###a hound",
        slow_workers=False,
        shared=True,
        workers=[str(uuid.UUID(int=1))],
        worker_blacklist=True,
        params={
            "n": 3,
            "sampler_name": "K_Euler_A",
            "cfg_scale": 7,
            "karras": False,
            "seed": 12,
            "clip_skip": 2,
            "hires_fix": True,
            "hires_fix_denoising_strength": 0.5,
            "tiling": True,
            "post_processing": ["GFPGAN", "RealESRGAN_x4plus"],
            "loras": [{"name": "123", "model": 0.5, "clip": 0.25, "inject_trigger": "glow", "is_version": True}],
            "tis": [{"name": "bad", "inject_ti": "negprompt", "strength": 0.75}],
        },
    )
    assert wish.warnings == []
    assert wish.spec["denied_worker_ids"] == [str(uuid.UUID(int=1))]
    assert (wish.spec["fast_workers_only"], wish.spec["share"], wish.spec["count"]) == (True, True, 3)
    expected = {
        "prompt": "a fox",
        "negative_prompt": "a hound",
        "sampler": "SAMPLER_EULER_ANCESTRAL",
        "guidance_scale": 7.0,
        "schedule": "NOISE_SCHEDULE_TRAINED",
        "seed": "12",
        "clip_skip": 1,
        "hires_fix": {"denoising_strength": 0.5},
        "tiling": True,
        "post_processors": ["POST_PROCESSOR_FACE_REPAIR", "POST_PROCESSOR_UPSCALE_4X"],
        "loras": [
            {
                "name": "123",
                "strength": 0.5,
                "clip_strength": 0.25,
                "source": "ADDON_SOURCE_CIVITAI",
                "trigger": "glow",
            }
        ],
        "textual_inversions": [{"name": "bad", "place": "TEXTUAL_INVERSION_PLACE_NEGATIVE_PROMPT", "strength": 0.75}],
    }
    assert {name: wish.image[name] for name in expected} == expected


def test_a_picture_guides_or_is_painted_over() -> None:
    guided = asking(source_image="aa", params={"control_type": "canny", "denoising_strength": 0.5})
    assert (guided.control_type, guided.source) == ("canny", "aa")
    assert "denoising_strength" not in guided.image
    mapped = asking(source_image="aa", params={"control_type": "canny", "image_is_control": True})
    assert mapped.control_type == ""
    painted = asking(source_image="aa", params={"denoising_strength": 0.5})
    assert (painted.control_type, painted.image["denoising_strength"]) == (None, 0.5)


def test_a_strength_without_a_picture_means_nothing_as_their_clients_send_it_always() -> None:
    wish = asking(params={"denoising_strength": 1})
    assert "denoising_strength" not in wish.image
    assert wish.warnings == []


@given(st.sampled_from(sorted(NEAR_SAMPLERS)))
def test_a_sampler_that_the_mesh_lacks_is_replaced_with_a_warning(name: str) -> None:
    wish = asking(params={"sampler_name": name})
    assert wish.image["sampler"].removeprefix("SAMPLER_") in SAMPLER_NAMES
    assert [warning.code for warning in wish.warnings] == ["SamplerMismatch"]


def test_samplers_have_one_name_each() -> None:
    assert len(set(SAMPLERS.values())) == len(SAMPLERS) == len(SAMPLER_NAMES)
    assert not set(SAMPLERS) & set(NEAR_SAMPLERS)


@given(
    st.dictionaries(st.text(min_size=1, max_size=12), st.integers(), max_size=4),
    st.dictionaries(st.text(min_size=1, max_size=12), st.integers(), max_size=4),
)
def test_no_field_is_ignored_in_silence(outer: dict[str, int], inner: dict[str, int]) -> None:
    strange = {name: value for name, value in outer.items() if name not in GenerateBody.model_fields}
    odd = {name: value for name, value in inner.items() if not hasattr(GenerateBody().params, name)}
    body = read(GenerateBody, {**strange, "prompt": "x", "params": odd})
    assert set(unknown_fields(body)) == {*strange, *(f"params.{name}" for name in odd)}


@given(st.one_of(st.text(min_size=1), st.integers()))
def test_a_seed_is_a_number_that_the_mesh_takes_and_the_same_each_time(seed: str | int) -> None:
    body = read(GenerateBody, {"prompt": "x", "params": {"seed": seed}})
    if body.params.seed:
        assert 0 <= seed_of(body.params.seed) < 2**63
        assert seed_of(body.params.seed) == seed_of(body.params.seed)


@given(st.integers(0, 2**63 - 1))
def test_a_seed_that_is_a_number_is_that_number(seed: int) -> None:
    assert seed_of(str(seed)) == seed


@given(st.uuids(version=4), st.booleans())
def test_a_requests_id_remembers_how_its_pictures_are_wanted(random: uuid.UUID, text: bool) -> None:
    made = request_id(random, base64=text)
    assert uuid.UUID(made).version == 4
    assert wants_base64(made) is text


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)
names = st.sampled_from(sorted(GenerateBody.model_fields)) | st.text(max_size=8)


@given(st.dictionaries(names, json_values, max_size=5) | json_values)
def test_whatever_is_sent_is_understood_or_refused(body: Any) -> None:
    refused = Refusal(400, "-", "-")
    try:
        asked(read(GenerateBody, body))
    except Refusal as refusal:
        refused = refusal
    assert 400 <= refused.status < 500
    assert refused.rc
    assert refused.message


def test_a_body_that_is_wrong_names_every_field_that_is() -> None:
    with pytest.raises(Refusal) as refused:
        read(GenerateBody, {"prompt": "x", "models": "one", "params": {"n": 99, "steps": "many"}})
    assert set(refused.value.errors) == {"models", "params.n", "params.steps"}
