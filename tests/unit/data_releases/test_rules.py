"""The rules of a data release: who gets in, what is found in prompts, who is called what, what is written where."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from xml.etree import ElementTree

import pyarrow as pa
import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from horde.api.job.v1 import job_pb2
from horde.data_releases.core.card import write_card
from horde.data_releases.core.checksums import BadChecksums, read_checksums, write_checksums
from horde.data_releases.core.columns import COLUMNS, BadRow, Measured, Place, describe
from horde.data_releases.core.contact import find_contact_data
from horde.data_releases.core.embedding import NotEmbeddable, embed
from horde.data_releases.core.gate import EXPLANATIONS, Reason, judge
from horde.data_releases.core.layout import is_release_id
from horde.data_releases.core.plan import BadPlan, OtherPlan, Plan
from horde.data_releases.core.provenance import MAX_XMP, make_xmp
from horde.data_releases.core.pseudonyms import Pseudonyms
from horde.data_releases.core.records import BadRecord, NoConsent, NotTextToImage, SharedRecord, Verdict, read_record
from horde.data_releases.core.sampling import Sampler
from horde.data_releases.core.statistics import OTHERS, Statistics, label, shorten
from horde.data_releases.shards import write_row
from horde.data_releases.tables import METADATA_SCHEMA

MOMENT = datetime(2026, 12, 1, 9, tzinfo=UTC)


def record_of(**changes: Any) -> dict[str, Any]:
    return {
        "job_id": "a-job",
        "image": {"sha256": "ab" * 32, "size_bytes": 10, "format": "WEBP", "width": 64, "height": 64},
        "consent": {
            "who_class": "anonymous",
            "when": "2026-11-26T13:45:10+00:00",
            "text_version": "2026-11",
            "how": "anonymous rule",
        },
        "spec": {"model": "paintbox", "image": {"prompt": "a red door", "seed": "9007199254740993", "steps": 3}},
        **changes,
    }


def read(**changes: Any) -> SharedRecord:
    return read_record(json.dumps(record_of(**changes)).encode())


def plan(**changes: Any) -> Plan:
    return Plan(**{"release_id": "r1", "as_of": MOMENT, "previous": None, "since": MOMENT, **changes})


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"null", b"\xff", b'{"job_id": 3}'])
def test_what_is_no_record_is_refused(data: bytes) -> None:
    with pytest.raises(BadRecord):
        read_record(data)


@pytest.mark.parametrize(
    "consent",
    [
        None,
        {},
        {"who_class": "registered", "when": "yesterday", "text_version": "1", "how": "asked"},
        {"who_class": "registered", "when": "2026-11-26T13:00:00+00:00", "text_version": "", "how": "asked"},
        {"who_class": "registered", "when": "2026-11-26T13:00:00+00:00", "text_version": "1", "how": "anonymous rule"},
    ],
)
def test_consent_is_whole_or_none(consent: Any) -> None:
    with pytest.raises(NoConsent):
        read(consent=consent)


def reaches_input(kind: Descriptor) -> bool:
    return kind is job_pb2.InputImage.DESCRIPTOR or any(
        reaches_input(field.message_type) for field in kind.fields if field.message_type
    )


def test_whatever_the_contract_lets_begin_with_a_picture_is_refused() -> None:
    fields = [
        field
        for field in job_pb2.ImageSpec.DESCRIPTOR.fields
        if field.message_type and reaches_input(field.message_type)
    ]
    assert {"source_image", "mask", "controls"} <= {field.name for field in fields}
    for field in fields:
        spec = job_pb2.JobSpec(model="m", image=job_pb2.ImageSpec(prompt="x"))
        given = json.loads(json_format.MessageToJson(spec, preserving_proto_field_name=True))
        deep = {"image": {"input_id": "1"}} if field.name == "controls" else {"input_id": "1"}
        given["image"][field.name] = [deep] if field.is_repeated else deep
        with pytest.raises(NotTextToImage):
            read(spec=given)


@pytest.mark.parametrize("kind", ["text", "caption", "upscale"])
def test_what_is_no_picture_from_text_is_refused(kind: str) -> None:
    with pytest.raises(NotTextToImage):
        read(spec={"model": "m", kind: {"prompt": "x"}})


def test_what_the_worker_said_of_the_making_is_in_the_row() -> None:
    making = job_pb2.Making(
        model_sha256=bytes(range(32)), engine="diffusers 0.40", precision="float16", device_class="c"
    )
    said = json.loads(json_format.MessageToJson(making, preserving_proto_field_name=True))
    row = describe(read(making=said), Measured("", 1, "", None), Place("s", 0), None, Pseudonyms(b"", "r"), "xmp")
    assert (row["model_hash"], row["engine"]) == (bytes(range(32)).hex(), "diffusers 0.40")
    assert (row["precision"], row["device_class"]) == ("float16", "c")


def test_what_was_left_to_the_model_is_what_the_worker_says_it_was() -> None:
    making = job_pb2.Making(
        sampler=job_pb2.SAMPLER_DPMPP_2M, schedule=job_pb2.NOISE_SCHEDULE_KARRAS, guidance_scale=2.5
    )
    said = json.loads(json_format.MessageToJson(making, preserving_proto_field_name=True))

    def row(making: Any, **image: Any) -> dict[str, Any]:
        spec = {"model": "m", "image": {"prompt": "x", **image}}
        found = read(spec=spec, making=making)
        return describe(found, Measured("", 1, "", None), Place("s", 0), None, Pseudonyms(b"", "r"), "xmp")

    names = ("sampler", "schedule", "guidance_scale")
    assert [row(said)[name] for name in names] == ["dpmpp_2m", "karras", 2.5]
    asked = {"sampler": "SAMPLER_EULER", "schedule": "NOISE_SCHEDULE_SIMPLE", "guidance_scale": 7}
    assert [row(said, **asked)[name] for name in names] == ["euler", "simple", 7.0]
    assert [row({})[name] for name in names] == [None, None, None]
    # A number of a newer contract, which this one has no name for.
    assert row({"sampler": 4711})["sampler"] is None


@pytest.mark.parametrize("own", [None, *Verdict])
@pytest.mark.parametrize("later", [None, *Verdict])
def test_unsafe_by_either_voice_is_out_and_a_later_word_settles_doubt(
    own: Verdict | None, later: Verdict | None
) -> None:
    found = judge(read(verdict=own), later, contact_data=False)
    if Verdict.UNSAFE in (own, later):
        assert found is Reason.UNSAFE
    elif later is Verdict.REPORTED:
        # What somebody said is no doubt that could be let in.
        assert found is judge(read(verdict=own), later, unsure=True) is Reason.REPORTED
    else:
        assert (found is Reason.UNDECIDED) == ((later or own) is Verdict.UNSURE)
        assert judge(read(verdict=own), later, unsure=True) is None


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("mail jane.doe@example.org", ["email"]),
        ("jane (at) example.org", ["email"]),
        ("call +49 30 1234567", ["phone"]),
        ("call (030) 123-4567-89", ["phone"]),
        ("by @some_artist", ["handle"]),
        ("see https://example.org/x and www.example.org", ["link"]),
        ("1024x1024, 50 steps, 8k, 16:9, f/1.8, 35mm", []),
        ("a photo from 1999-12-31, trending on artstation", []),
        ("(masterpiece:1.2), best quality, seed 1234567890123", []),
        ("0.5 0.25 0.125 0.0625", []),
    ],
)
def test_contact_data_is_found_by_its_form(text: str, kinds: list[str]) -> None:
    assert find_contact_data(text) == kinds


def test_contact_data_is_let_in_only_if_asked_for_and_then_marked() -> None:
    record = read(spec={"model": "m", "image": {"prompt": "x", "negative_prompt": "me@example.org"}})
    assert judge(record, None, contact_data=False) is Reason.CONTACT_DATA
    assert judge(record, None, contact_data=True) is None
    row = describe(record, Measured("", 1, "", None), Place("s", 0), None, Pseudonyms(b"", "r"), "xmp")
    assert row["contact_data"] == ["email"]


def test_each_reason_is_explained() -> None:
    assert set(EXPLANATIONS) == set(Reason)


def test_a_row_has_every_column_and_keeps_large_seeds() -> None:
    row = describe(read(), Measured("", 1, "", None), Place("s", 0), Verdict.SAFE, Pseudonyms(b"", "r"), "xmp")
    assert list(row) == [column.name for column in COLUMNS]
    assert (row["seed"], row["seed_text"]) == (9007199254740993, "9007199254740993")
    assert row["created_at"] == row["consent_at"] == datetime(2026, 11, 26, 13, tzinfo=UTC)
    nullable = {column.name for column in COLUMNS if column.null != "never"}
    assert {name for name, value in row.items() if value is None} <= nullable


@given(st.binary(min_size=1), st.text(), st.text())
def test_pseudonyms_hold_within_a_release_only(key: bytes, one: str, other: str) -> None:
    first, second = Pseudonyms(key, "r1"), Pseudonyms(key, "r2")
    assert (first.of("requester", one) == first.of("requester", other)) == (one == other)
    assert first.of("requester", one) != second.of("requester", one)
    assert first.of("requester", one) != first.of("worker", one)
    assert first.of("requester", None) is None


NAMES = st.text("abcXYZ0123456789./-_", min_size=1, max_size=30).filter(
    lambda name: not name.startswith("/") and ".." not in name.split("/")
)


@given(st.dictionaries(NAMES, st.binary().map(lambda data: hashlib.sha256(data).hexdigest())))
def test_a_list_of_checksums_is_read_as_it_was_written(digests: dict[str, str]) -> None:
    assert read_checksums(write_checksums(digests)) == digests


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../b", "a\\b", ""])
def test_a_list_of_checksums_does_not_lead_out_of_its_folder(name: str) -> None:
    with pytest.raises(BadChecksums):
        read_checksums(f"{'a' * 64}  {name}\n".encode())


def picture(**options: Any) -> tuple[Image.Image, bytes]:
    image = Image.effect_noise((40, 24), 90).convert("RGBA" if options.pop("alpha", False) else "RGB")
    out = io.BytesIO()
    image.save(out, "WEBP", **options)
    return image, out.getvalue()


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("lossless", [False, True])
def test_provenance_goes_in_strangers_words_go_out_and_no_pixel_changes(alpha: bool, lossless: bool) -> None:
    secret = b"Exif\x00\x00painted by jane on /home/jane"
    _, data = picture(alpha=alpha, lossless=lossless, exif=secret, xmp=b"<x>jane</x>", icc_profile=b"icc profile")
    marked = embed(data, 40, 24, make_xmp(read()))
    before, after = (Image.open(io.BytesIO(each)) for each in (data, marked))
    assert before.tobytes() == after.tobytes()
    assert after.info["icc_profile"] == b"icc profile"
    assert b"jane" not in marked
    assert b"trainedAlgorithmicMedia" in after.info["xmp"]


@given(st.binary(max_size=60), st.integers(0, 60))
def test_rubbish_is_refused_and_never_breaks_the_builder(data: bytes, cut: int) -> None:
    for broken in (data, b"RIFF" + data[:4].ljust(4, b"\0") + b"WEBP" + data, picture()[1][:cut]):
        with pytest.raises(NotEmbeddable):
            embed(broken, 1, 1, b"")


@given(st.text(max_size=4_000), st.text(max_size=4_000))
def test_provenance_is_xml_and_bounded_whatever_the_prompt(prompt: str, negative: str) -> None:
    data = json.dumps(record_of(spec={"model": "m", "image": {"prompt": prompt, "negative_prompt": negative}}))
    xmp = make_xmp(read_record(data.encode()))
    assert len(xmp) <= MAX_XMP
    ElementTree.fromstring(xmp.decode().partition("?>")[2].rpartition("<?")[0])


def test_the_longest_prompt_that_escapes_worst_still_fits() -> None:
    image = {"prompt": '"' * 4_000, "negative_prompt": "&" * 4_000, "loras": [{"name": "<" * 4_000}] * 8}
    assert len(make_xmp(read(spec={"model": "m", "image": image}))) <= MAX_XMP


@pytest.mark.parametrize("name", ["", "A", "a/b", "..", "a..b", ".a", "a.", "ä", "a" * 65, "-"])
def test_what_is_no_name_of_a_release(name: str) -> None:
    assert not is_release_id(name)
    with pytest.raises(BadPlan, match="release_id"):
        plan(release_id=name)


@pytest.mark.parametrize(
    ("field", "value"),
    [("samples", 0), ("near_bits", 5), ("cool_off_hours", -1), ("shard_bytes", 1), ("previous", "r1")],
)
def test_an_impossible_argument_is_named(field: str, value: Any) -> None:
    with pytest.raises(BadPlan, match=field):
        plan(**{field: value})


def test_a_plan_is_read_as_it_was_written_and_tells_what_differs() -> None:
    begun = plan(near_bits=2, previous="r0")
    assert Plan.from_json(json.loads(json.dumps(begun.to_json()))) == begun
    with pytest.raises(OtherPlan, match="near_bits"):
        begun.check_same(plan(near_bits=3, previous="r0"))


@given(st.integers(0, 24 * 30), st.integers(0, 24 * 40), st.integers(0, 59))
def test_no_hour_is_read_before_its_cool_off_has_passed_and_it_has_settled(
    cool_off: int, age: int, minute: int
) -> None:
    made = plan(as_of=MOMENT.replace(minute=minute), since=MOMENT - timedelta(hours=age), cool_off_hours=cool_off)
    for hour in made.hours():
        ended = hour + timedelta(hours=1)
        assert ended <= made.as_of - timedelta(hours=cool_off)
        assert ended + timedelta(minutes=15) <= made.as_of


def test_two_releases_one_after_the_other_read_every_hour_once() -> None:
    first = plan(since=MOMENT - timedelta(hours=300))
    second = plan(release_id="r2", previous="r1", as_of=MOMENT + timedelta(hours=50), since=first.until)
    hours = [*first.hours(), *second.hours()]
    assert len(hours) == len(set(hours))
    assert [later - earlier for earlier, later in itertools.pairwise(hours)] == [timedelta(hours=1)] * (len(hours) - 1)


def row_of(record: SharedRecord, size_bytes: int = 1) -> dict[str, Any]:
    return describe(record, Measured("", size_bytes, "", None), Place("s", 0), None, Pseudonyms(b"", "r"), "xmp")


def row(number: int) -> dict[str, Any]:
    return {**row_of(read(), number), "steps": number}


@given(st.lists(st.integers(0, 500), max_size=20), st.integers(0, 20))
def test_statistics_of_parts_add_up_to_those_of_the_whole(numbers: list[int], cut: int) -> None:
    whole, first, second = Statistics(), Statistics(), Statistics()
    for index, number in enumerate(numbers):
        whole.count(row(number))
        (first if index < cut else second).count(row(number))
    second.left_out[Reason.UNSAFE] += 1
    whole.left_out[Reason.UNSAFE] += 1
    second.add(Statistics.from_json(json.loads(json.dumps(first.to_json()))))
    assert second.to_json() == whole.to_json()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("<0000064", "32 to 63"),
        ("<0000002", "1"),
        ("<0000001", "0"),
        ("<1048576", "524,288 to 1,048,575"),
        ("<b", "<b"),
    ],
)
def test_what_is_counted_by_size_is_shown_as_a_range(value: str, shown: str) -> None:
    assert label(value) == shown


@given(
    st.lists(st.tuples(st.integers(0, 99), st.integers(0, 5)), max_size=30, unique_by=lambda one: one[0]), st.randoms()
)
def test_a_contact_sheet_shows_as_many_prompts_as_it_can_whatever_the_order(
    images: list[tuple[int, int]], chance: Random
) -> None:
    rows = [
        {"sha256": f"{number:02}", "prompt": f"p{prompt}", "shard": "s", "tar_offset": 0, "bytes": 1}
        for number, prompt in images
    ]
    chosen = []
    for _ in range(2):
        sampler = Sampler(4)
        for row in rows:
            sampler.offer(row)
        chosen.append(sampler.chosen())
        chance.shuffle(rows)
    assert chosen[0] == chosen[1]
    assert len(chosen[0]) == len({sample.sha256 for sample in chosen[0]}) == min(4, len(images))
    assert len({sample.prompt for sample in chosen[0]}) == min(4, len({prompt for _, prompt in images}))


def test_the_rarest_values_are_shown_together() -> None:
    assert shorten({"a": 5, "b": 1, "c": 3, "d": 1}, 2) == {"a": 5, "c": 3, OTHERS: 2}


def test_the_card_documents_every_column_and_names_what_was_left_out() -> None:
    counted = Statistics()
    counted.count(row(3))
    left_out = {reason: {"images": 2, "why": why} for reason, why in EXPLANATIONS.items()}
    statistics = {**counted.to_json(), "left_out": left_out, "removed": 7, "ratings": 2, "ratings_by_score": {"8": 2}}
    card = write_card(plan(), statistics, 1).decode()
    assert "names 7 images" in card
    assert "**rating** – 8: 2." in card
    assert (
        "Nothing of earlier releases has been taken back"
        in write_card(plan(), {**statistics, "removed": 0}, 1).decode()
    )
    for column in COLUMNS:
        assert f"| `{column.name}` |" in card
    for why in EXPLANATIONS.values():
        assert why in card


@pytest.mark.parametrize(
    ("image", "column"),
    [
        ({"prompt": "half a \ud83d pair"}, "prompt"),
        ({"prompt": "x", "seed": str(1 << 70)}, "seed"),
        ({"prompt": "x", "seed": "none"}, "ValueError"),
        ({"prompt": "x", "steps": 1 << 40}, "steps"),
        ({"prompt": "x", "guidance_scale": float("nan")}, "guidance_scale"),
        ({"prompt": "x", "loras": [3]}, "AttributeError"),
        ({"prompt": "x", "loras": [{"name": "a\udc00", "strength": 1}]}, "loras"),
        ({"prompt": "x", "clip_skip": None}, "TypeError"),
    ],
)
def test_a_record_that_no_column_holds_is_named_and_ends_nothing(image: dict[str, Any], column: str) -> None:
    with pytest.raises(BadRow, match=column):
        row_of(read(spec={"model": "paintbox", "image": image}))


@given(
    st.dictionaries(
        st.sampled_from(["prompt", "seed", "steps", "sampler", "loras", "clip_skip", "guidance_scale", "tiling"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
            max_leaves=5,
        ),
    )
)
def test_whatever_a_record_says_it_becomes_a_row_that_parquet_takes_or_is_a_bad_one(image: dict[str, Any]) -> None:
    try:
        told = row_of(read(spec={"model": "paintbox", "image": image}))
    except (BadRecord, BadRow, NotTextToImage):
        return
    assert pa.Table.from_pylist([told], METADATA_SCHEMA).num_rows == 1
    json.loads(write_row(told), parse_constant=pytest.fail)
    told["prompt"].encode()


@pytest.mark.parametrize(
    "prompt",
    [
        "two\nlines\r\n",
        "\x00 nothing",
        "a" * 10_240,
        "\u202eright to left \u0627\u0644\u0644\u063a\u0629",
        "]]><x/>",
        "\U0001f600",
    ],
    ids=["newlines", "null", "long", "right to left", "markup", "emoji"],
)
def test_odd_prompts_are_kept_letter_by_letter(prompt: str) -> None:
    told = row_of(read(spec={"model": "paintbox", "image": {"prompt": prompt}}))
    assert pa.Table.from_pylist([told], METADATA_SCHEMA).to_pylist()[0]["prompt"] == prompt
    assert json.loads(write_row(told))["prompt"] == prompt
    ElementTree.fromstring(make_xmp(read(spec={"model": "paintbox", "image": {"prompt": prompt}})))


@pytest.mark.parametrize("job_id", ["../x", "a/b", "a.b", "", "a" * 65, "\u00e4", ".hidden", "__removed__", "a b"])
def test_an_id_that_cannot_be_a_key_in_a_shard_is_no_record(job_id: str) -> None:
    with pytest.raises(BadRecord):
        read(job_id=job_id)


@pytest.mark.parametrize("image", [{"sha256": "xy" * 32}, {"width": 0}, {"height": -1}], ids=str)
def test_an_image_that_cannot_be_is_no_record(image: dict[str, Any]) -> None:
    with pytest.raises(BadRecord):
        read(image={**record_of()["image"], **image})
