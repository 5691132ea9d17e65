"""How far a request is, as strict clients want it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from horde.web_door.core.progress import DeviationFacts, ImageFacts, metadata, progress

texts = st.text(max_size=300)


@st.composite
def images(draw: st.DrawFn) -> ImageFacts:
    ended = draw(st.booleans())
    shown = ended and draw(st.booleans())
    return ImageFacts(
        ended=ended,
        shown=shown,
        failed=ended and not shown and draw(st.booleans()),
        working=not ended and draw(st.booleans()),
        attempt=draw(st.integers(0, 5)),
        ahead=draw(st.integers(0, 10_000)),
        done_seconds=draw(st.none() | st.floats(0, 1e6)),
        possible=draw(st.booleans()),
        cost_mkudos=draw(st.integers(0, 10**9)),
    )


@given(st.lists(images(), min_size=1, max_size=20))
def test_numbers_are_whole_add_up_and_never_tell_a_waiting_client_not_to_wait(facts: list[ImageFacts]) -> None:
    told = progress(facts)
    whole = ("finished", "processing", "restarted", "waiting", "wait_time", "queue_position")
    assert all(type(told[name]) is int for name in whole)
    assert all(type(told[name]) is bool for name in ("done", "faulted", "is_possible"))
    running = [image for image in facts if not image.ended]
    assert told["waiting"] + told["processing"] == len(running)
    assert told["done"] is (not running)
    assert (told["wait_time"] == 0) is told["done"]
    assert 0 <= told["wait_time"] <= 3_600
    assert (told["queue_position"] > 0) is (told["waiting"] > 0)
    assert told["faulted"] is (told["done"] and any(image.failed for image in facts))


def test_what_nobody_here_could_do_is_not_possible_while_it_waits() -> None:
    assert progress([ImageFacts(ended=False, possible=False)])["is_possible"] is False
    assert progress([ImageFacts(ended=False, working=True, possible=False)])["is_possible"] is True


@given(
    st.lists(st.builds(DeviationFacts, field=texts, asked=texts, done=texts, omitted=st.booleans())),
    st.sampled_from(["", "nsfw", "CSAM suspected"]),
)
def test_metadata_has_only_types_and_lengths_that_every_client_knows(
    deviations: list[DeviationFacts], censored: str
) -> None:
    entries = metadata(deviations, censored=censored)
    assert len(entries) == len(deviations) + bool(censored)
    for entry in entries:
        assert entry["type"] in {"lora", "ti", "censorship", "source_image", "source_mask"}
        assert entry["value"] in {"download_failed", "see_ref", "nsfw", "csam"}
        assert len(entry.get("ref", "")) <= 255


def test_an_addition_that_was_not_had_is_told_by_its_name() -> None:
    missing = DeviationFacts("image.loras[0]", "glow", "", omitted=True)
    assert metadata([missing]) == [{"type": "lora", "value": "download_failed", "ref": "glow"}]
