"""What a worker there can do, and what it is asked, in each side's words."""

from __future__ import annotations

import re
from typing import Any

from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from horde.api.job.v1 import job_pb2
from horde.api.worker.v1 import worker_pb2, worker_service_pb2
from horde.gateway.doors.attach import checked_hello
from horde.web_door.core.bodies import MetadataBody, PopBody, read
from horde.web_door.core.names import NEAR_POST_PROCESSORS, NEAR_SAMPLERS, POST_PROCESSORS, SAMPLERS
from horde.web_door.core.offers import agent_of, offers, worker_name
from horde.web_door.core.payloads import deviations, payload


@given(st.text(min_size=1, max_size=100))
def test_a_name_is_one_that_the_mesh_takes(name: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", worker_name(name))


def test_a_plain_name_stays_and_others_do_not_fall_together() -> None:
    assert worker_name("my-worker_1.0") == "my-worker_1.0"
    assert len({worker_name(name) for name in ("a b", "a-b", "a  b", "a_b", "ä", "ö", "x" * 65, "x" * 66)}) == 8


@given(
    st.lists(st.text(max_size=140), max_size=300),
    st.text(max_size=200),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_what_is_offered_is_a_hello_that_the_gateway_takes(
    models: list[str], agent: str, img2img: bool, painting: bool, lora: bool, mending: bool
) -> None:
    body = {"name": "x", "models": models, "bridge_agent": agent, "allow_img2img": img2img}
    more = {"allow_painting": painting, "allow_lora": lora, "allow_post_processing": mending}
    said = offers(read(PopBody, {**body, **more}))
    capabilities = json_format.ParseDict({"models": said}, worker_pb2.Capabilities())
    hello = worker_service_pb2.Hello(worker_name="x", agent=agent_of(agent), capabilities=capabilities)
    checked_hello(worker_service_pb2.AttachRequest(hello=hello))
    features = {feature for model in capabilities.models for feature in model.image.features}
    assert (worker_pb2.FEATURE_INPAINTING in features) <= (img2img and painting)
    assert (worker_pb2.FEATURE_LORA in features) <= lora
    assert worker_pb2.FEATURE_CONTROL not in features
    assert worker_pb2.FEATURE_FOREIGN_ADDONS not in features


def test_every_name_stands_for_something_of_the_contract() -> None:
    for name in (*SAMPLERS.values(), *NEAR_SAMPLERS.values()):
        assert job_pb2.Sampler.Value(f"SAMPLER_{name}")
    for name in (*POST_PROCESSORS.values(), *NEAR_POST_PROCESSORS.values()):
        assert job_pb2.PostProcessor.Value(f"POST_PROCESSOR_{name}")


def spec(**fields: Any) -> dict[str, Any]:
    image = job_pb2.ImageSpec(prompt="a fox", width=512, height=768, steps=20, seed=2**62, **fields)
    return json_format.MessageToDict(image, preserving_proto_field_name=True)


def test_a_job_is_asked_for_in_the_words_of_workers_there() -> None:
    told, chosen = payload(
        spec(
            negative_prompt="a hound",
            sampler=job_pb2.SAMPLER_DPM2_ANCESTRAL,
            schedule=job_pb2.NOISE_SCHEDULE_TRAINED,
            guidance_scale=6.5,
            clip_skip=1,
            post_processors=[job_pb2.POST_PROCESSOR_FACE_REPAIR],
            loras=[job_pb2.Lora(name="glow", strength=0.5, trigger="glowing")],
            textual_inversions=[
                job_pb2.TextualInversion(name="bad", place=job_pb2.TEXTUAL_INVERSION_PLACE_NEGATIVE_PROMPT)
            ],
        )
    )
    assert told == {
        "prompt": "a fox ### a hound",
        "ddim_steps": 20,
        "n_iter": 1,
        "width": 512,
        "height": 768,
        "seed": str(2**62),
        "sampler_name": "k_dpm_2_a",
        "cfg_scale": 6.5,
        "karras": False,
        "clip_skip": 2,
        "tiling": False,
        "hires_fix": False,
        "post_processing": ["GFPGAN"],
        "denoising_strength": 1.0,
        "loras": [{"name": "glow", "model": 0.5, "clip": 0.5, "inject_trigger": "glowing"}],
        "tis": [{"name": "bad", "strength": 1.0, "inject_ti": "negprompt"}],
    }
    assert (chosen.sampler, chosen.guidance) == ("", None)


def test_what_was_left_to_the_model_is_chosen_and_told() -> None:
    told, chosen = payload(spec())
    assert (told["sampler_name"], told["cfg_scale"], told["karras"]) == ("k_euler_a", 7.5, True)
    assert (chosen.sampler, chosen.guidance) == ("EULER_ANCESTRAL", 7.5)


@given(
    st.lists(
        st.builds(MetadataBody, type=st.text(max_size=12), value=st.text(max_size=300), ref=st.text()), max_size=50
    )
)
def test_what_a_worker_says_of_its_picture_keeps_the_contracts_limits(entries: list[MetadataBody]) -> None:
    for entry in deviations(entries):
        deviation = json_format.ParseDict(entry, job_pb2.Deviation())
        assert all(len(text) <= 200 for text in (deviation.field, deviation.asked, deviation.done))
