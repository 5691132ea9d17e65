"""Every field of a request is read, or named as what was not done: none is lost in silence."""

from __future__ import annotations

from typing import Any

import pytest

from horde.api.job.v1 import job_pb2
from horde.api.worker.v1 import worker_service_pb2 as pb
from horde.worker_agent.assignments import assignment, picture
from horde.worker_agent.core.jobs import DeviationKind, HiresFix, NoiseSchedule, ResizeMode, TextualInversion

INPUT = job_pb2.InputImage(input_id="photo", sha256=b"0" * 32)
ASKED: dict[str, Any] = {
    "prompt": "a cat",
    "negative_prompt": "red",
    "width": 64,
    "height": 128,
    "steps": 7,
    "guidance_scale": 3.5,
    "sampler": job_pb2.SAMPLER_HEUN,
    "schedule": job_pb2.NOISE_SCHEDULE_BETA,
    "seed": 11,
    "clip_skip": 1,
    "loras": [job_pb2.Lora(name="ink", strength=0.5, clip_strength=0.25, sha256=b"1" * 32, trigger="ink")],
    "source_image": INPUT,
    "mask": INPUT,
    "controls": [job_pb2.Control(image=INPUT, type="canny")],
    "denoising_strength": 0.5,
    "post_processors": [job_pb2.POST_PROCESSOR_UPSCALE_2X],
    "resize_mode": job_pb2.RESIZE_MODE_STRETCH,
    "invert_mask": True,
    "hires_fix": job_pb2.HiresFix(width=64, height=64),
    "tiling": True,
    "textual_inversions": [job_pb2.TextualInversion(name="style")],
}


def test_this_knows_every_field_of_the_contract() -> None:
    assert ASKED.keys() == {field.name for field in job_pb2.ImageSpec.DESCRIPTOR.fields}


@pytest.mark.parametrize("field", sorted(ASKED.keys() - {"prompt", "width", "height", "steps", "seed"}))
def test_a_field_that_is_asked_for_changes_what_is_painted_or_is_a_deviation(field: str) -> None:
    plain = picture(job_pb2.JobSpec(image=job_pb2.ImageSpec(prompt="a cat")))
    asked = picture(job_pb2.JobSpec(image=job_pb2.ImageSpec(**{"prompt": "a cat", field: ASKED[field]})))
    assert asked != plain


def test_a_lora_is_read_whole() -> None:
    (lora,) = picture(job_pb2.JobSpec(image=job_pb2.ImageSpec(loras=ASKED["loras"]))).loras
    assert (lora.name, lora.strength, lora.clip_strength, lora.sha256, lora.trigger, lora.foreign) == (
        "ink",
        0.5,
        0.25,
        b"1" * 32,
        "ink",
        False,
    )


def test_a_word_that_is_taught_is_read_whole() -> None:
    place = job_pb2.TEXTUAL_INVERSION_PLACE_NEGATIVE_PROMPT
    asked = [
        job_pb2.TextualInversion(name="style", sha256=b"3" * 32, place=place, strength=0.5),
        job_pb2.TextualInversion(name="other", source=job_pb2.ADDON_SOURCE_CIVITAI),
    ]
    read = picture(job_pb2.JobSpec(image=job_pb2.ImageSpec(textual_inversions=asked))).textual_inversions
    assert read == (TextualInversion("style", 1, 0.5, b"3" * 32), TextualInversion("other", foreign=True))


def test_every_control_is_read_with_its_strength_and_fetched() -> None:
    other = job_pb2.InputImage(input_id="map", sha256=b"2" * 32)
    asked = [job_pb2.Control(image=INPUT, type="canny"), job_pb2.Control(image=other, strength=0.5)]
    read = picture(job_pb2.JobSpec(image=job_pb2.ImageSpec(controls=asked)))
    assert [(control.type, control.strength) for control in read.controls] == [("canny", 1.0), ("", 0.5)]
    assert [ref.input_id for ref in read.inputs] == ["photo", "map"]


def test_the_first_pass_of_a_large_picture_is_read_whole() -> None:
    asked = [job_pb2.HiresFix(width=64, height=72, denoising_strength=0.5), job_pb2.HiresFix()]
    read = [picture(job_pb2.JobSpec(image=job_pb2.ImageSpec(hires_fix=fix))).hires_fix for fix in asked]
    assert read == [HiresFix(64, 72, 0.5), HiresFix()]


def test_numbers_of_a_newer_contract_are_deviations() -> None:
    spec = job_pb2.ImageSpec(sampler=99, schedule=99, resize_mode=99)  # type: ignore[arg-type]
    read = picture(job_pb2.JobSpec(image=spec))
    assert [(each.kind, each.field, each.asked) for each in read.unheard_of] == [
        (DeviationKind.SUBSTITUTED, field, "99") for field in ("sampler", "schedule", "resize_mode")
    ]
    assert (read.schedule, read.resize_mode) == (NoiseSchedule.DEFAULT, ResizeMode.DEFAULT)


def test_what_is_newer_than_this_agent_is_not_painted_in_part() -> None:
    spec = job_pb2.JobSpec(model="paintbox")
    spec.image.prompt = "a fox"
    spec.image.MergeFromString(bytes([0xFA, 0xFF, 0x3F, 1, 0]))
    read = assignment(pb.Assignment(lease_id="1-1", job_id="j", spec=spec))
    assert read.picture is None
    assert read.unheard == ("spec.image.#131071",)
