"""Whatever text an outcome holds, the mesh takes it: the workers' door itself is asked."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from horde.api.worker.v1 import worker_service_pb2 as pb
from horde.gateway.doors.attach import check_said
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
    Outcome,
    Painted,
    RefusalReason,
    Refused,
    Result,
)
from horde.worker_agent.core.messages import Demand, Restatement
from horde.worker_agent.core.texts import fit

TEXTS = st.text(st.characters(codec=None), max_size=700) | st.text("\x1b[31m\x00\x9b;K\n\u2028\ud800x", max_size=700)
DEVIATIONS = st.builds(Deviation, st.sampled_from(DeviationKind), TEXTS, TEXTS, TEXTS)
RESULTS = st.one_of(
    st.builds(Painted, st.just("a receipt"), st.lists(DEVIATIONS, max_size=40).map(tuple)),
    st.builds(Censored, TEXTS),
    st.builds(Refused, st.sampled_from(RefusalReason), TEXTS),
    st.builds(Failed, st.sampled_from(FailureReason), TEXTS),
    st.builds(Cancelled, st.integers(0, 500)),
)


def outcome(result: Result) -> Outcome:
    return Outcome(LeaseId("1-1"), JobId("6f1a3a1e-2d0c-5c6e-9b57-0b6c8f6d4a11"), result)


@given(RESULTS)
def test_every_outcome_passes_the_workers_door_alone_and_restated(result: Result) -> None:
    assert check_said(wire.request(outcome(result))) == "outcome"
    restated = Restatement(0, Demand(1, draining=False), (), (outcome(result),))
    assert check_said(wire.request(restated)) == "restatement"


@given(RESULTS)
def test_an_outcome_of_any_text_weighs_no_more_than_it_says(result: Result) -> None:
    assert pb.Restatement(outcomes=[wire.outcome_to_proto(outcome(result))]).ByteSize() <= outcome(result).most_bytes


@given(RESULTS)
def test_what_is_kept_on_disk_is_what_was_said(result: Result) -> None:
    proto = wire.outcome_to_proto(outcome(result))
    assert wire.outcome_to_proto(wire.outcome_from_proto(proto)) == proto


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("\x1b[1;31mRuntimeError\x1b[0m: no", "RuntimeError: no"),
        ("\x1b]0;title\x07words", "words"),
        ("a\x00b\x9fc", "abc"),
        ("two\r\nlines", "two\r\nlines"),
        ("half \ud83d of one", "half  of one"),
        ("é" * 11, "é" * 9 + "…"),
    ],
)
def test_terminal_codes_and_control_characters_go_and_words_stay(text: str, plain: str) -> None:
    assert fit(text, 10 if len(text) == 11 else 100) == plain


def test_more_deviations_than_an_outcome_carries_are_counted_in_its_last() -> None:
    many = tuple(Deviation(DeviationKind.OMITTED, f"loras[{n}]", "x") for n in range(40))
    told = wire.outcome_to_proto(outcome(Painted("receipt", many))).painted.deviations
    assert len(told) == 32
    assert told[-1].asked == "x (and 8 more like this)"
