"""What must outlive a kill, and what the wire says of it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from horde.api.worker.v1 import worker_service_pb2 as pb
from horde.worker_agent import wire
from horde.worker_agent.core.jobs import (
    Cancelled,
    Censored,
    Deviation,
    DeviationKind,
    Failed,
    FailureReason,
    JobId,
    LeaseId,
    Making,
    NoiseSchedule,
    Outcome,
    Painted,
    RefusalReason,
    Refused,
    Result,
    Sampler,
)
from horde.worker_agent.home import AlreadyRunning, locked
from horde.worker_agent.outcomes import OutcomeFolder
from horde.worker_agent.spool import Spool, Spooled

words = st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=40)
deviations = st.builds(Deviation, st.sampled_from(DeviationKind), words, words, words)
makings = st.builds(
    Making,
    st.sampled_from(Sampler),
    st.sampled_from(NoiseSchedule),
    st.none() | st.integers(0, 30).map(float),
    st.integers(0, 500),
    words,
    words.map(lambda text: text[:32]),
    words,
    st.binary(min_size=32, max_size=32).map(bytes.hex) | st.just(""),
)
results: st.SearchStrategy[Result] = st.one_of(
    st.builds(Painted, words, st.lists(deviations, max_size=3).map(tuple), st.none() | makings),
    st.builds(Censored, words),
    st.builds(Refused, st.sampled_from(RefusalReason), words),
    st.builds(Failed, st.sampled_from(FailureReason), words),
    st.builds(Cancelled, st.integers(0, 500)),
)


def outcome(lease: str = "1-1", result: Result | None = None) -> Outcome:
    return Outcome(LeaseId(lease), JobId("job"), result or Painted("receipt"))


@given(results)
def test_an_outcome_comes_back_from_its_message_as_it_was(result: Result) -> None:
    assert wire.outcome_from_proto(wire.outcome_to_proto(outcome(result=result))) == outcome(result=result)


@given(results)
def test_an_outcome_weighs_no_more_than_it_says(result: Result) -> None:
    alone = pb.Restatement(outcomes=[wire.outcome_to_proto(outcome(result=result))])
    assert alone.ByteSize() <= outcome(result=result).most_bytes


def test_outcomes_are_there_after_a_restart_until_they_are_forgotten(tmp_path: Path) -> None:
    folder = OutcomeFolder(tmp_path)
    folder.keep(outcome("1-1"))
    folder.keep(outcome("1-2", Cancelled(3)))
    folder.keep(outcome("1-1", Painted("another")))
    again = OutcomeFolder(tmp_path)
    assert {lease.lease_id: lease for lease in again.load()} == {
        "1-1": outcome("1-1", Painted("another")),
        "1-2": outcome("1-2", Cancelled(3)),
    }
    again.forget(LeaseId("1-1"))
    again.forget(LeaseId("1-1"))
    assert again.load() == [outcome("1-2", Cancelled(3))]


def test_a_lease_id_cannot_name_a_file_elsewhere(tmp_path: Path) -> None:
    OutcomeFolder(tmp_path / "in").keep(outcome("../../out"))
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize("content", [b"", b"\xff\xff\xff", b"junk"])
def test_a_file_that_says_nothing_is_dropped(tmp_path: Path, content: bytes) -> None:
    folder = OutcomeFolder(tmp_path)
    (tmp_path / "0123").write_bytes(content)
    assert folder.load() == []
    assert list(tmp_path.iterdir()) == []


def spooled(image: bytes = b"\nimage\n") -> Spooled:
    return Spooled(
        lease_id=LeaseId("1-1"),
        job_id=JobId("job"),
        grant="a.b.c",
        storage_address="localhost:1",
        traceparent="",
        steps=4,
        sha256=hashlib.sha256(image).hexdigest(),
        deviations=(Deviation(DeviationKind.CLAMPED, "clip_skip", "9", "2"),),
        making=Making(Sampler.EULER, NoiseSchedule.KARRAS, 2.5, 4, "diffusers 0.40", "float16", "cpu", "ab" * 32),
        image=image,
    )


def test_an_image_that_waits_comes_back_whole(tmp_path: Path) -> None:
    Spool(tmp_path).put(spooled())
    assert Spool(tmp_path).load() == [spooled()]
    Spool(tmp_path).remove(LeaseId("1-1"))
    assert Spool(tmp_path).load() == []


@given(cut=st.integers(min_value=0, max_value=400))
def test_an_image_that_is_cut_off_anywhere_is_dropped(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    folder = tmp_path_factory.mktemp("spool")
    Spool(folder).put(spooled(b"x" * 200))
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[: min(cut, len(whole) - 1)])
    assert Spool(folder).load() == []
    assert list(folder.iterdir()) == []


def test_what_is_on_disk_is_for_its_user_alone(tmp_path: Path) -> None:
    Spool(tmp_path / "spool").put(spooled())
    OutcomeFolder(tmp_path / "outcomes").keep(outcome())
    for path in tmp_path.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_two_processes_cannot_be_one_worker(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(AlreadyRunning), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass
